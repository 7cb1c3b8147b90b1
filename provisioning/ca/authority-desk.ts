import type { AuditTrail } from '../../contracts/audit.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import { ConflictError, describeError, FleetpulseError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { AuthorityChanges } from './authority-changes.ts'
import { openOrders, type AuthorityOrder, type AuthorityOutcome, type PlacedOrder } from './authority-orders.ts'
import type { CertificateAuthority } from './authority.ts'
import { dueForSuccessor } from './issuing-renewal.ts'

export interface AuthorityDeskOptions {
  documents: Documents
  authority: CertificateAuthority
  certificates: Certificates
  auditTrail?: AuditTrail
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/** Orders and their answers are kept no longer than this, ms: whoever asked has gone. */
const ORDER_KEPT_MS = 86_400_000

/** Carries out what operators ask of the CAs, one order after the other, where their keys are. */
export class AuthorityDesk implements Service {
  readonly name = 'authority-desk'
  readonly #options: AuthorityDeskOptions
  readonly #changes: AuthorityChanges
  #timer: Timer | undefined
  #rollTimer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()
  #rolling: Promise<void> = Promise.resolve()

  constructor(options: AuthorityDeskOptions) {
    this.#options = options
    this.#changes = new AuthorityChanges(options.authority, options.config)
  }

  /** After the authority. Orders that a crash cut off are answered as such: they may have been done. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { clock, config, documents, log } = this.#options
    const orders = await openOrders(documents)
    await orders.deleteMany({ requestedAt: { $lt: clock.nowMs() - ORDER_KEPT_MS } })
    for (const cutOff of await orders.find({ answer: null, takenAt: { $gt: 0 } })) {
      const message = 'The process that held the CAs ended before it answered.'
      const answer = { status: 'refused', code: 'INTERNAL', fault: 'environment', message, remedy: 'Look with fleetpulse ca status.' }
      await orders.update(cutOff._id, { $set: { answer } })
    }
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'orders for the CAs wait')
    this.#timer = every(clock, config.signingPollMs, () => (this.#looking = this.#look(orders)), onError)
    const onRollError = (error: unknown): void =>
      log.error({ error: describeError(error) }, 'no successor could be made for an issuing CA that nears its end; trying again')
    const roll = (): Promise<void> => (this.#rolling = this.#rollIfDue())
    this.#rollTimer = every(clock, config.serverCheckIntervalMs, roll, onRollError)
    await roll().catch(onRollError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#rollTimer?.cancel()
    this.#rollTimer = undefined
    await Promise.allSettled([this.#looking, this.#rolling])
  }

  /** A successor in time, by itself; audited before it is made. */
  async #rollIfDue(): Promise<void> {
    const { authority, auditTrail, clock, config, log } = this.#options
    const ending = dueForSuccessor(authority, config, clock.nowMs())
    if (ending === undefined) return
    const endsAt = new Date(ending.notAfterMs).toISOString()
    await auditTrail?.record({
      tenant: DEFAULT_TENANT,
      actor: 'system',
      action: 'certificate.authority-roll',
      subject: { kind: 'authority', id: ending.id },
      why: `it ends on ${endsAt}`,
    })
    const { id, issuesFromMs } = await this.#changes.roll()
    log.info({ id, issuesFromMs, successorOf: ending.id, endsAt }, 'a successor was made for an issuing CA that nears its end')
  }

  async #look(orders: Collection<PlacedOrder>): Promise<void> {
    for (const placed of await orders.find({ answer: null, takenAt: null }, { sort: { requestedAt: 1 }, limit: 1 })) {
      const taken = await orders.update(placed._id, { $set: { takenAt: this.#options.clock.nowMs() } }, placed.version)
      if (taken.status === 'written') await this.#carryOut(orders, taken.document)
    }
  }

  async #carryOut(orders: Collection<PlacedOrder>, { _id, order, by }: PlacedOrder & Stored): Promise<void> {
    const { log } = this.#options
    try {
      const outcome = await this.#do(order, by)
      log.info({ order: order.kind, by, ...outcome }, 'the CAs were changed')
      await orders.update(_id, { $set: { answer: { status: 'done', outcome } } })
    } catch (error) {
      log.warn({ order: order.kind, by, error: describeError(error) }, 'a change of the CAs was refused')
      const { code, fault, remedy } =
        error instanceof FleetpulseError ? error : { code: 'INTERNAL', fault: 'bug', remedy: 'The log of the registry has the details.' }
      const message = error instanceof FleetpulseError ? error.message : 'Something failed where the CAs are held.'
      await orders.update(_id, { $set: { answer: { status: 'refused', code, fault, message, remedy: remedy ?? null } } })
    }
  }

  async #do(order: AuthorityOrder, by: string): Promise<AuthorityOutcome> {
    switch (order.kind) {
      case 'request':
        return this.#changes.request()
      case 'roll': {
        const { id, issuesFromMs } = await this.#changes.roll()
        return { id, issuesFrom: issuesFromMs }
      }
      case 'import': {
        const { id, issuesFromMs } = await this.#changes.import(order.pem)
        return { id, issuesFrom: issuesFromMs }
      }
      case 'root-crl':
        return { id: (await this.#changes.importRootCrl(order.crl)).root }
      case 'retire':
        return this.#retire(order, by)
    }
  }

  /** What is still valid goes first, so that no session lives on with a certificate that would no longer be let in. */
  async #retire({ id, reason, force }: Extract<AuthorityOrder, { kind: 'retire' }>, by: string): Promise<AuthorityOutcome> {
    const { certificates, clock } = this.#options
    const { keyId } = this.#changes.checkRetirable(id, clock.nowMs())
    const valid = await certificates.countValid(keyId, clock.nowMs())
    if (valid > 0 && !force) {
      throw new ConflictError(`${valid} valid certificates of ${id} are in use and would no longer be let in.`, {
        remedy: 'Wait until their devices have renewed them, or retire it with force, which revokes them first.',
      })
    }
    let revoked = 0
    for (;;) {
      const page = await certificates.validBy(keyId, clock.nowMs(), REVOKED_AT_ONCE)
      if (page.length === 0) break
      await Promise.all(page.map(({ tenant, serial }) => certificates.revoke(tenant, serial, reason, by)))
      revoked += page.length
    }
    await this.#changes.retire(id, reason)
    return { id, revoked }
  }
}

/** Revocations under way at once. */
const REVOKED_AT_ONCE = 100
