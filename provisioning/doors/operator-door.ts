import type { DeviceIdentity } from '../../contracts/device-identity.ts'
import type { CertificateNotice } from '../../contracts/renewal.ts'
import { describeError, InternalError, TimeoutError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, sleep, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { Enrolment } from './enrolment.ts'
import { issuedNotice } from './issued-notice.ts'

/** What an operator is answered who asks for a certificate. */
export type OperatorAnswer = Exclude<CertificateNotice, { status: 'due' }>

/** An operator's way to a certificate for a device, wherever the CA is. `by`: `user:NAME`. */
export interface OperatorDoor {
  enrol(identity: DeviceIdentity, csrDer: Uint8Array, by: string): Promise<OperatorAnswer>
}

interface OperatorRequest extends DeviceIdentity {
  csrBase64: string
  by: string
  /** Epoch ms. */
  requestedAt: number
  answer: OperatorAnswer | null
}

const SPEC = { name: 'operator-requests', indexes: [{ name: 'waiting', paths: ['answer', 'requestedAt'] }] } as const
/** Requests answered at once; the next look takes the rest. */
const REQUESTS_MAX = 20

/** Where the CA is. */
export class LocalOperatorDoor implements OperatorDoor {
  readonly #by: { enrolment: Enrolment; authority: Pick<CertificateAuthority, 'chainPemOf' | 'caPem'> }

  constructor(by: { enrolment: Enrolment; authority: Pick<CertificateAuthority, 'chainPemOf' | 'caPem'> }) {
    this.#by = by
  }

  async enrol(identity: DeviceIdentity, csrDer: Uint8Array, by: string): Promise<OperatorAnswer> {
    const { enrolment, authority } = this.#by
    const outcome = await enrolment.enrolByOperator(identity, csrDer, by)
    if (outcome.status === 'refused') return outcome
    if (outcome.status === 'pending') return { status: 'refused', reason: 'pending', detail: outcome.detail }
    return issuedNotice(authority, outcome.certificate)
  }
}

/** Where the CA is not: it asks the registry's process through the documents, as edges do for their own certificates. */
export class RemoteOperatorDoor implements OperatorDoor {
  readonly #options: { documents: Documents; config: ProvisioningConfig; clock: Clock }

  constructor(options: { documents: Documents; config: ProvisioningConfig; clock: Clock }) {
    this.#options = options
  }

  /** Throws TimeoutError when no process of the target registry answers in time; then nothing is issued any more. */
  async enrol(identity: DeviceIdentity, csrDer: Uint8Array, by: string): Promise<OperatorAnswer> {
    const { documents, clock, config } = this.#options
    const requests = await documents.collection<OperatorRequest>(SPEC)
    const id = newId(clock.nowMs())
    const csrBase64 = Buffer.from(csrDer).toString('base64')
    await requests.insert(id, { ...identity, csrBase64, by, requestedAt: clock.nowMs(), answer: null })
    try {
      const deadlineMs = clock.monotonicMs() + config.signingTimeoutMs
      for (;;) {
        const answer = (await requests.get(id))?.answer
        if (answer !== null && answer !== undefined) return answer
        if (clock.monotonicMs() >= deadlineMs) break
        await sleep(clock, config.signingPollMs)
      }
    } finally {
      await requests.delete(id)
    }
    throw new TimeoutError(`no process of the target registry answered within ${config.signingTimeoutMs} ms`, {
      remedy: 'Start fleetpulse start --target=registry on the same stores, then this again.',
    })
  }
}

/** Answers what operators ask in other processes. */
export class OperatorDesk implements Service {
  readonly name = 'operator-desk'
  readonly #options: { documents: Documents; door: OperatorDoor; config: ProvisioningConfig; clock: Clock; log: Logger }
  #requests: Collection<OperatorRequest> | undefined
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(options: { documents: Documents; door: OperatorDoor; config: ProvisioningConfig; clock: Clock; log: Logger }) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, config, clock, log } = this.#options
    this.#requests = await documents.collection<OperatorRequest>(SPEC)
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'requests of operators for a certificate wait')
    this.#timer = every(clock, config.signingPollMs, () => (this.#looking = this.#look()), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#looking])
  }

  async #look(): Promise<void> {
    const { door, clock, config } = this.#options
    if (this.#requests === undefined) throw new InternalError('the operator desk is used before its start')
    for (const request of await this.#requests.find({ answer: null }, { sort: { requestedAt: 1 }, limit: REQUESTS_MAX })) {
      const { _id: id, version, tenant, device, csrBase64, by, requestedAt } = request
      // Whoever asked has been told that nobody answers.
      if (clock.nowMs() - requestedAt > config.signingTimeoutMs) {
        await this.#requests.delete(id, version)
        continue
      }
      const answer = await door.enrol({ tenant, device }, Buffer.from(csrBase64, 'base64'), by)
      await this.#requests.update(id, { $set: { answer } }, version)
    }
  }
}
