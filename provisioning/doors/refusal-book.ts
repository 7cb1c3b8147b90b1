import type { Counter } from 'prom-client'
import type { AuditTrail } from '../../contracts/audit.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Clock } from '../../kernel/time.ts'
import { TokenBuckets } from '../../kernel/token-buckets.ts'
import type { EnrolmentConfig } from './config.ts'

export interface Refused {
  door: string
  /** Unknown while nothing vouches for the asker. */
  tenant?: string
  /** As asked for; anybody may have written it. */
  device: string
  reason: string
  detail: string
  /** For the log and the trail, not for the device. */
  because?: string
  origin?: string
}

/** Doors whose pace is remembered. */
const DOORS_MAX = 64
const AUDIT_BURST = 20
const NAME_CHARS_MAX = 64

/**
 * Every refusal at a door: counted, logged and written to the audit trail. The trail is bounded in pace, since strangers may be refused as
 * fast as they can ask; each entry counts those that were left out before it.
 */
export class RefusalBook {
  readonly #options: { auditTrail?: AuditTrail; clock: Clock; log: Logger }
  readonly #total: Counter<'door' | 'reason'>
  readonly #pace: TokenBuckets
  readonly #omitted = new Map<string, number>()

  constructor(options: { auditTrail?: AuditTrail; enrolmentConfig: EnrolmentConfig; clock: Clock; log: Logger; metrics: Metrics }) {
    this.#options = options
    const { clock, enrolmentConfig, metrics } = options
    this.#total = metrics.counter('provisioning_refused_enrolments_total', 'Requests for a certificate that were refused.', [
      'door',
      'reason',
    ])
    this.#pace = new TokenBuckets({ clock, ratePerS: enrolmentConfig.refusalAuditsPerS, burstMax: AUDIT_BURST, keysMax: DOORS_MAX })
  }

  /** Never throws: the refusal stands whether or not it can be written down. */
  async note({ door, tenant, device, reason, detail, because, origin }: Refused): Promise<void> {
    const { auditTrail, log } = this.#options
    const name = device.slice(0, NAME_CHARS_MAX)
    this.#total.inc({ door, reason })
    log.warn({ door, tenant, device: name, reason, detail, because, origin }, 'enrolment refused')
    if (auditTrail === undefined) return
    const omitted = this.#omitted.get(door) ?? 0
    if (this.#pace.take(door) > 0) {
      this.#omitted.set(door, omitted + 1)
      return
    }
    this.#omitted.delete(door)
    try {
      await auditTrail.record({
        tenant: tenant ?? DEFAULT_TENANT,
        actor: tenant === undefined ? 'anonymous' : `device:${name}`,
        action: 'certificate.issue',
        subject: { kind: 'device', id: name },
        device: name,
        outcome: 'refused',
        why: because === undefined ? detail : `${detail} (${because})`,
        after: { door, reason },
        count: omitted + 1,
        ...(origin === undefined ? {} : { origin }),
      })
    } catch (error) {
      log.error({ door, device: name, error: describeError(error) }, 'a refusal could not be written to the audit trail')
    }
  }
}
