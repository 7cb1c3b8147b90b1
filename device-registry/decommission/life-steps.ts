import type { AuditTrail } from '../../contracts/audit.ts'
import { ConflictError } from '../../kernel/errors.ts'
import type { Registry } from '../registry.ts'
import type { Job } from './job.ts'
import { done, type Outcome } from './outcome.ts'
import type { DeviceCredentials } from './ports.ts'

export interface LifeStepsOptions {
  registry: Registry
  credentials: DeviceCredentials
  auditTrail: AuditTrail
}

/** What the registry and the enrolment doors do: the identity ends here, and with a transfer begins anew elsewhere. */
export class LifeSteps {
  readonly #options: LifeStepsOptions

  constructor(options: LifeStepsOptions) {
    this.#options = options
  }

  /** From here on there is no new certificate and no reading, and no way back. */
  async lock(job: Job): Promise<Outcome> {
    const { registry } = this.#options
    const { tenant, device, by, origin, why } = job
    await registry.transition(tenant, device, 'decommissioning', by, {
      ...(why === null ? {} : { why }),
      ...(origin === null ? {} : { origin }),
    })
    const [last] = await registry.history(tenant, device)
    return done({ from: last?.from ?? null, to: 'decommissioning' })
  }

  async revoke({ tenant, device, kind, requestedAt }: Job): Promise<Outcome> {
    const reason = kind === 'transfer' ? 'affiliationChanged' : 'cessationOfOperation'
    const { certificates, tokens } = await this.#options.credentials.revokeAll(tenant, device, reason)
    const revoked = certificates.filter(({ revokedAt }) => revokedAt !== null && revokedAt >= requestedAt).length
    return done({ revoked, tokens, certificates })
  }

  async tombstone({ tenant, device, by, kind, to }: Job): Promise<Outcome> {
    const why = kind === 'transfer' && to !== null ? `transferred to ${to.tenant}/${to.device}` : 'decommissioned'
    const { state } = await this.#options.registry.transition(tenant, device, 'decommissioned', by, { why })
    return done({ state })
  }

  /** The device is known in the other tenant, with no certificate yet; both tenants' audit trails say where it went and came from. */
  async admit(job: Job): Promise<Outcome> {
    const { registry, auditTrail } = this.#options
    const { tenant, device, type, to, by, why, readings } = job
    if (to === null) return done({ outcome: 'not-asked' })
    await this.#bringType(tenant, to.tenant, type)
    const registration = await registry.ensureRegistered(to.tenant, to.device, type, by)
    const outcome = registration.status === 'registered' ? 'registered' : registration.reason
    const from = { tenant, device }
    const said = { actor: by, ...(why === null ? {} : { why }) }
    await auditTrail.record({
      ...said,
      tenant,
      action: 'device.transfer',
      subject: { kind: 'device', id: device },
      after: { to, readings, outcome },
    })
    await auditTrail.record({
      ...said,
      tenant: to.tenant,
      action: 'device.receive',
      subject: { kind: 'device', id: to.device },
      after: { from, readings, outcome },
    })
    return done({ outcome, ...to })
  }

  async #bringType(from: string, to: string, type: string): Promise<void> {
    const { registry } = this.#options
    if ((await registry.listTypes(to)).some(({ id }) => id === type)) return
    const { id, open, metrics, silenceAfterMs, futureToleranceMs, earliestTs } = await registry.getType(from, type)
    try {
      await registry.createType(to, { id, open, metrics, silenceAfterMs, futureToleranceMs, earliestTs })
    } catch (error) {
      // Somebody made it meanwhile.
      if (!(error instanceof ConflictError)) throw error
    }
  }
}
