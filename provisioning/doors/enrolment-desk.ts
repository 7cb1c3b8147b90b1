import { describeError, InternalError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { ClaimDoor } from './claim-door.ts'
import type { ClaimsOptions } from './claims.ts'
import type { EnrolmentConfig } from './config.ts'
import { openDeskRequests, type DeskAnswer, type DeskQuestion, type DeskRequest } from './desk-documents.ts'
import type { JustInTime } from './just-in-time.ts'

export interface EnrolmentDeskOptions {
  documents: Documents
  claimDoor: ClaimDoor
  justInTime: JustInTime
  signClaim: ClaimsOptions['sign']
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
}

/** Questions that nobody waits for any more are removed after so many times the longest wait. */
const STALE_FACTOR = 4

/** Decides where the CA key is what edges ask for their devices: they ask and are answered through the documents. */
export class EnrolmentDesk implements Service {
  readonly name = 'enrolment-desk'
  readonly #options: EnrolmentDeskOptions
  readonly #underway = new Map<string, Promise<void>>()
  #requests: Collection<DeskRequest> | undefined
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(options: EnrolmentDeskOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, clock, enrolmentConfig, log } = this.#options
    this.#requests = await openDeskRequests(documents)
    await this.#sweep()
    const onError = (error: unknown): void =>
      log.error({ error: describeError(error) }, 'devices at the doors wait: requests of edges cannot be read')
    this.#timer = every(clock, enrolmentConfig.deskPollMs, () => (this.#looking = this.#look()), onError)
  }

  /** Ends what is being decided. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#looking])
    await Promise.allSettled(this.#underway.values())
    this.#requests = undefined
  }

  async #look(): Promise<void> {
    const { deskConcurrencyMax, deskTimeoutMs } = this.#options.enrolmentConfig
    // Those under way are found again, so as many more are asked for.
    const waiting = await this.#collection().find({ answered: false }, { sort: { askedAt: 1 }, limit: deskConcurrencyMax })
    const nowMs = this.#options.clock.nowMs()
    for (const request of waiting) {
      if (this.#underway.has(request._id)) continue
      if (request.askedAt < nowMs - STALE_FACTOR * deskTimeoutMs) await this.#collection().delete(request._id)
      else this.#take(request)
    }
  }

  #take(request: DeskRequest & Stored): void {
    const done = this.#answer(request).finally(() => this.#underway.delete(request._id))
    this.#underway.set(request._id, done)
  }

  async #answer({ _id: id, question }: DeskRequest & Stored): Promise<void> {
    let answer: DeskAnswer
    try {
      answer = await this.#decide(question)
    } catch (error) {
      this.#options.log.error({ kind: question.kind, error: describeError(error) }, 'a device at a door could not be decided about')
      answer = { status: 'failed' }
    }
    try {
      await this.#collection().update(id, { $set: { answer, answered: true } })
    } catch (error) {
      this.#options.log.error({ kind: question.kind, error: describeError(error) }, 'an answer for an edge could not be written')
    }
  }

  async #decide(question: DeskQuestion): Promise<DeskAnswer> {
    const { claimDoor, justInTime, signClaim } = this.#options
    if (question.kind === 'sign-claim') return { status: 'granted', ...(await signClaim(question.request)) }
    return question.kind === 'claim' ? claimDoor.ask(question.request) : justInTime.admit(question.request)
  }

  /** Of edges that ended while they waited. */
  async #sweep(): Promise<void> {
    const { clock, enrolmentConfig } = this.#options
    await this.#collection().deleteMany({ askedAt: { $lt: clock.nowMs() - STALE_FACTOR * enrolmentConfig.deskTimeoutMs } })
  }

  #collection(): Collection<DeskRequest> {
    if (this.#requests === undefined) throw new InternalError('the enrolment desk is used before its start or after its stop')
    return this.#requests
  }
}
