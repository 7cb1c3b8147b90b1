import { daysMs, type ProvisioningConfig } from '../config.ts'
import { isLive, type IssuingCa, type RootCa } from './issuing-ca.ts'

/**
 * The CA whose successor is due: the one that is good for longest ends within `issuingRollBeforeDays`, a root whose key is here can sign
 * another, and that one would be good for markedly longer (not where the root itself ends). Undefined when nothing is due.
 */
export function dueForSuccessor(
  { issuers, roots }: { issuers: readonly IssuingCa[]; roots: readonly RootCa[] },
  config: Pick<ProvisioningConfig, 'issuingRollBeforeDays' | 'issuingLifetimeDays'>,
  nowMs: number,
): IssuingCa | undefined {
  const beforeMs = daysMs(config.issuingRollBeforeDays)
  const lifetimeMs = daysMs(config.issuingLifetimeDays)
  const [longest] = issuers.filter((ca) => isLive(ca, nowMs)).sort((a, b) => b.notAfterMs - a.notAfterMs)
  if (beforeMs === 0 || longest === undefined || longest.notAfterMs - nowMs > beforeMs) return undefined
  const root = roots.findLast(({ key, notAfterMs }) => key !== undefined && notAfterMs > nowMs)
  if (root === undefined) return undefined
  const gainMs = Math.min(nowMs + lifetimeMs, root.notAfterMs) - longest.notAfterMs
  return gainMs >= Math.min(beforeMs, lifetimeMs) / 2 ? longest : undefined
}
