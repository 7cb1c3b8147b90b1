import type { CrlReason } from '../../contracts/certificate.ts'
import { ConflictError, FleetpulseError, InternalError, InvalidInputError, NotFoundError, TimeoutError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Service } from '../../kernel/service.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { AuthorityFacts, AuthorityRequest } from './authority-view.ts'
import { AUTHORITY_ID, openSigningCollections, type PublishedAuthority } from './signing-requests.ts'

/** What may be asked of whoever holds the CAs. */
export type AuthorityOrder =
  | { kind: 'request' }
  | { kind: 'import'; pem: string }
  | { kind: 'roll' }
  /** `force`: certificates of it that are still valid are revoked first, which ends their sessions. */
  | { kind: 'retire'; id: string; reason: CrlReason; force: boolean }
  | { kind: 'root-crl'; crl: string }

export interface AuthorityOutcome {
  /** The CA that the order was about. */
  id: string
  /** Of `request`. */
  csrPem?: string
  /** Of `roll` and `import`: from when on it signs, epoch ms. */
  issuesFrom?: number
  /** Of `retire` with `force`. */
  revoked?: number
}

export interface PlacedOrder {
  order: AuthorityOrder
  by: string
  /** Epoch ms. */
  requestedAt: number
  /** Somebody works on it; after a crash it is not begun again, for it may have been done. */
  takenAt: number | null
  answer:
    | { status: 'done'; outcome: AuthorityOutcome }
    | { status: 'refused'; code: string; fault: string; message: string; remedy: string | null }
    | null
}

export function openOrders(documents: Documents): Promise<Collection<PlacedOrder>> {
  return documents.collection<PlacedOrder>({ name: 'authority-orders', indexes: [{ name: 'waiting', paths: ['answer', 'requestedAt'] }] })
}

export interface AuthorityOrdersOptions {
  documents: Documents
  config: ProvisioningConfig
  clock: Clock
}

/** Where operators ask for changes of the CAs, in whichever process: the CA keys are in one of the target registry. */
export class AuthorityOrders implements Service {
  readonly name = 'authority-orders'
  readonly #options: AuthorityOrdersOptions
  readonly #stopping = new AbortController()
  #orders: Collection<PlacedOrder> | undefined
  #authorities: Collection<PublishedAuthority> | undefined

  constructor(options: AuthorityOrdersOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { documents } = this.#options
    this.#authorities ??= (await openSigningCollections(documents)).authorities
    this.#orders ??= await openOrders(documents)
  }

  stop(): Promise<void> {
    this.#stopping.abort()
    this.#orders = undefined
    this.#authorities = undefined
    return Promise.resolve()
  }

  /** Every CA as the registry published it last; empty before it did. */
  async list(): Promise<{ authorities: AuthorityFacts[]; requests: AuthorityRequest[] }> {
    if (this.#authorities === undefined) throw new InternalError('the CAs are asked for before the start or after the stop')
    const found = await this.#authorities.get(AUTHORITY_ID)
    return { authorities: found?.authorities ?? [], requests: found?.requests ?? [] }
  }

  /** Asks, and waits for the answer. Throws what the registry's process refused with, and TimeoutError when none answers in time. */
  async place(order: AuthorityOrder, by: string): Promise<AuthorityOutcome> {
    const { clock, config } = this.#options
    const orders = this.#orders
    if (orders === undefined) throw new InternalError('CAs are changed before the start or after the stop')
    const id = newId(clock.nowMs())
    await orders.insert(id, { order, by, requestedAt: clock.nowMs(), takenAt: null, answer: null })
    const deadlineMs = clock.monotonicMs() + config.signingTimeoutMs
    for (;;) {
      const placed = await orders.get(id)
      if (placed?.answer !== null && placed?.answer !== undefined) {
        await orders.delete(id)
        if (placed.answer.status === 'done') return placed.answer.outcome
        throw refusalOf(placed.answer)
      }
      if (this.#stopping.signal.aborted || clock.monotonicMs() >= deadlineMs) throw await this.#giveUp(orders, id)
      await sleep(clock, config.signingPollMs, this.#stopping.signal)
    }
  }

  /** What nobody has taken yet is taken back. */
  async #giveUp(orders: Collection<PlacedOrder>, id: string): Promise<TimeoutError> {
    const placed = await orders.get(id)
    const isBack = placed?.takenAt === null && (await orders.delete(id, placed.version)).status === 'deleted'
    return new TimeoutError(`no process of the target registry ${isBack ? 'took the order' : 'has finished the order yet'}`, {
      remedy: isBack ? 'Start fleetpulse start --target=registry on the same stores, then this again.' : 'Look with fleetpulse ca status.',
    })
  }
}

function refusalOf({ code, fault, message, remedy }: Extract<PlacedOrder['answer'], { status: 'refused' }>): FleetpulseError {
  const options = remedy === null ? {} : { remedy }
  if (code === 'NOT_FOUND') return new NotFoundError(message, options)
  if (code === 'CONFLICT') return new ConflictError(message, options)
  if (fault === 'caller') return new InvalidInputError(message, options)
  return new InternalError(message, options)
}
