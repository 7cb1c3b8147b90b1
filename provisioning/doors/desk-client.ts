import type { ClaimRequest, DoorAnswer, FactoryCredential, GrantedCertificate, RemoteDoors } from '../../contracts/credential.ts'
import { describeError, EnvironmentError, InternalError, TimeoutError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock, Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { ClaimToSign, SignedClaim } from './claims.ts'
import type { EnrolmentConfig } from './config.ts'
import { openDeskRequests, type DeskAnswer, type DeskQuestion, type DeskRequest } from './desk-documents.ts'

export interface DeskClientOptions {
  documents: Documents
  /** Names this edge in its requests. */
  edgeId: string
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
}

interface Waiting {
  deadlineMs: number
  resolve: (answer: DeskAnswer) => void
  reject: (error: Error) => void
}

/** The doors as an edge reaches them: it puts a question into the documents and looks for the answer while it waits for any. */
export class DeskClient implements Service, RemoteDoors {
  readonly name = 'desk-client'
  readonly #options: DeskClientOptions
  readonly #waiting = new Map<string, Waiting>()
  #requests: Collection<DeskRequest> | undefined
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(options: DeskClientOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#requests ??= await openDeskRequests(this.#options.documents)
  }

  /** Whoever waits is told that it cannot be decided now. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    for (const [id, { reject }] of this.#waiting) {
      this.#waiting.delete(id)
      reject(new EnvironmentError('BROKER_STOPPED', 'the edge stops', { retryable: true }))
    }
    await this.#looking
    this.#requests = undefined
  }

  async claim(request: ClaimRequest): Promise<DoorAnswer<GrantedCertificate>> {
    return (await this.#ask({ kind: 'claim', request })) as DoorAnswer<GrantedCertificate>
  }

  async admitFactory(request: { credential: FactoryCredential; certificatePem: string; origin: string }): Promise<DoorAnswer<object>> {
    return (await this.#ask({ kind: 'factory', request })) as DoorAnswer<object>
  }

  /** A claim certificate, in a process without the CA key. */
  async signClaim(request: ClaimToSign): Promise<SignedClaim> {
    return (await this.#ask({ kind: 'sign-claim', request })) as DeskAnswer & SignedClaim
  }

  async #ask(question: DeskQuestion): Promise<DeskAnswer> {
    const { clock, edgeId, enrolmentConfig } = this.#options
    const requests = this.#require()
    const id = newId(clock.nowMs())
    await requests.insert(id, { edge: edgeId, question, askedAt: clock.nowMs(), answered: false, answer: null })
    const answer = await new Promise<DeskAnswer>((resolve, reject) => {
      this.#waiting.set(id, { deadlineMs: clock.monotonicMs() + enrolmentConfig.deskTimeoutMs, resolve, reject })
      this.#lookLater()
    }).finally(() => this.#forget(id))
    if (answer.status === 'failed')
      throw new EnvironmentError('ENROLMENT_FAILED', 'whether the device may come in could not be decided now', { retryable: true })
    return answer
  }

  #lookLater(): void {
    const { clock, enrolmentConfig } = this.#options
    this.#timer ??= clock.after(enrolmentConfig.deskPollMs, () => {
      this.#timer = undefined
      this.#looking = this.#look().then(() => {
        if (this.#waiting.size > 0 && this.#requests !== undefined) this.#lookLater()
      })
    })
  }

  async #look(): Promise<void> {
    const { clock, enrolmentConfig, log } = this.#options
    try {
      const answered = await this.#require().find({ _id: { $in: [...this.#waiting.keys()] }, answered: true })
      for (const { _id, answer } of answered) if (answer !== null) this.#waiting.get(_id)?.resolve(answer)
    } catch (error) {
      log.error({ error: describeError(error) }, 'answers of the enrolment desk cannot be read')
    }
    const nowMs = clock.monotonicMs()
    for (const { deadlineMs, reject } of this.#waiting.values()) {
      if (nowMs >= deadlineMs) {
        reject(new TimeoutError(`no process of the target registry decided within ${enrolmentConfig.deskTimeoutMs} ms`))
      }
    }
  }

  #forget(id: string): void {
    this.#waiting.delete(id)
    this.#requests
      ?.delete(id)
      .catch((error: unknown) => this.#options.log.warn({ error: describeError(error) }, 'a request to the enrolment desk was left behind'))
  }

  #require(): Collection<DeskRequest> {
    if (this.#requests === undefined) throw new InternalError('the enrolment desk is asked before the start or after the stop')
    return this.#requests
  }
}
