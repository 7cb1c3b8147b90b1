import { CHECK_NAMES } from '../../checks/check.ts'
import type { EvidenceConfig } from '../../evidence/config.ts'
import type { Sources } from '../../evidence/sources.ts'
import type { Investigation } from '../investigation.ts'
import type { Recount } from './recount.ts'
import type { Fault } from './verdict.ts'

type FaultAt = (code: Fault['code'], where: string, detail: string) => void

/** What could not be looked at is admitted: checks that failed, what was cut off, what came late, how little there was. */
export async function checkGaps(
  investigation: Investigation,
  recount: Recount,
  sources: Sources,
  config: EvidenceConfig,
  fault: FaultAt,
): Promise<void> {
  const { checks, gaps, evidence, incident } = investigation
  const admits = (code: string, check: string | null): boolean => gaps.some((gap) => gap.code === code && gap.check === check)
  const names = checks.map(({ name }) => name)
  if (CHECK_NAMES.some((name) => !names.includes(name))) fault('hidden_gap', 'checks', 'a check is missing')
  for (const { name, status, evidence: handles } of checks) {
    if (status === 'error' && !admits('check_failed', name) && !admits('check_timed_out', name))
      fault('hidden_gap', `checks.${name}`, 'it failed, and that is not said')
    const isPart = handles.some((handle) => evidence[handle]?.truncated === true)
    if (isPart && !admits('truncated', name)) fault('hidden_gap', `checks.${name}`, 'it was made in part, and that is not said')
  }
  for (const [handle, { query }] of Object.entries(evidence)) {
    const figures = await recount.figures(query)
    const where = `evidence.${handle}`
    const isLate = query.kind === 'pipeline_health' && ((figures.lateReadings ?? 0) > 0 || (figures.late ?? 0) > 0)
    if (isLate && !gaps.some(({ code }) => code === 'late_data')) fault('hidden_gap', where, 'data came late, and that is not said')
    const isFew = query.kind === 'deviation' && typeof figures.count === 'number' && figures.count < config.readingsAfterMin
    if (isFew && !gaps.some(({ code }) => code === 'few_readings'))
      fault('hidden_gap', where, 'there are few readings, and that is not said')
  }
  const { truncated } = await sources.alerts({ tenant: incident.tenant, incident: incident.id, limit: config.alertsMax })
  if (truncated && !admits('truncated', null)) fault('hidden_gap', 'alerts', 'not all were counted, and that is not said')
  const unspoken = investigation.claims.length > 0 && checks.every(({ name, interesting }) => name === 'threshold' || !interesting)
  if (unspoken && !gaps.some(({ code }) => code === 'only_alert_seen'))
    fault('hidden_gap', 'checks', 'only the alert was seen, and that is not said')
}
