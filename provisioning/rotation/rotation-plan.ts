import type { CertificateRecord, Rotation } from '../../contracts/certificate.ts'
import type { RotationConfig } from './config.ts'

export type RotationPolicy = Pick<RotationConfig, 'renewAfterFraction' | 'lateAfterFraction' | 'graceMs'>

/** A certificate whose rotation is followed. */
export type Followed = CertificateRecord & { rotation: Rotation }

/**
 * What is to be done about a certificate now. `begin`: it is new; `close`: it was revoked; `retire`: what it replaces is to be revoked;
 * `fall-due`: its device is to be told; `fall-late` and `end`: operators are to be told.
 */
export type RotationStep = 'begin' | 'close' | 'retire' | 'fall-due' | 'fall-late' | 'end'

/** A certificate's dates, epoch ms: `renewAt` ≤ `lateAt` ≤ `notAfter`; `retireAt` is when what it replaces goes at the latest. */
export function datesOf(record: CertificateRecord, policy: RotationPolicy): { renewAt: number; lateAt: number; retireAt: number } {
  const lifetimeMs = record.notAfter - record.notBefore
  return {
    renewAt: Math.round(record.notBefore + policy.renewAfterFraction * lifetimeMs),
    lateAt: Math.round(record.notBefore + policy.lateAfterFraction * lifetimeMs),
    retireAt: record.issuedAt + policy.graceMs,
  }
}

/** The next thing to do, or undefined when nothing is due at `nowMs`. */
export function nextStep(record: Followed, nowMs: number, policy: RotationPolicy): RotationStep | undefined {
  const { stage, settled, usedAt } = record.rotation
  const { renewAt, lateAt, retireAt } = datesOf(record, policy)
  if (record.state === 'revoked') return stage === 'closed' && settled ? undefined : 'close'
  if (stage === 'new') return 'begin'
  if (!settled && (usedAt !== null || nowMs >= retireAt)) return 'retire'
  if (stage === 'watched' && nowMs >= renewAt) return 'fall-due'
  if (stage === 'due' && nowMs >= lateAt) return 'fall-late'
  if (stage === 'late' && nowMs > record.notAfter) return 'end'
  return undefined
}

/** When `nextStep` will have something to do, epoch ms; null when never by time alone. */
export function nextLookAt(record: Followed, policy: RotationPolicy): number | null {
  const { stage, settled } = record.rotation
  const { renewAt, lateAt, retireAt } = datesOf(record, policy)
  const byStage: Partial<Record<Rotation['stage'], number>> = {
    new: record.issuedAt,
    watched: renewAt,
    due: lateAt,
    late: record.notAfter + 1,
  }
  const at = Math.min(byStage[stage] ?? Infinity, settled ? Infinity : retireAt)
  return at === Infinity ? null : at
}

/** What a certificate begins with. */
export function newRotation(issuedAt: number, replaces: string | null): Rotation {
  return { stage: 'new', lookAt: issuedAt, usedAt: null, settled: replaces === null, alarms: 0 }
}
