import { describeError } from '../../kernel/errors.ts'
import type { CheckName, CheckOutcome, CheckSubject } from '../checks/check.ts'
import type { Sources } from '../evidence/sources.ts'
import type { Gap } from './investigation.ts'

export interface GapsOptions {
  subject: CheckSubject
  outcomes: readonly CheckOutcome[]
  sources: Sources
  bounded<T>(work: Promise<T>): Promise<T>
  alertsTruncated: boolean
  pastFailed: boolean
}

/** Checks that say something of every incident; that others have nothing to say of a silence, or of a certificate, is no gap. */
const OF_VALUES: readonly CheckName[] = ['spike', 'level_shift', 'drift', 'variance', 'flatline', 'co_moving', 'peers']
const ALWAYS: readonly CheckName[] = ['threshold', 'changes', 'security', 'pipeline']

/** What the digest must admit. */
export async function gapsOf({ subject, outcomes, sources, bounded, alertsTruncated, pastFailed }: GapsOptions): Promise<Gap[]> {
  const gaps: Gap[] = []
  const isExpected = (name: CheckName): boolean =>
    ALWAYS.includes(name) ||
    (subject.metric !== null && OF_VALUES.includes(name)) ||
    (subject.cause === 'silence' && (name === 'gap' || name === 'peers'))
  for (const { name, status, failure, evidence } of outcomes) {
    if (status === 'error') gaps.push({ code: failure === 'timed_out' ? 'check_timed_out' : 'check_failed', check: name })
    else if (status === 'no_data' && isExpected(name)) gaps.push({ code: 'check_no_data', check: name })
    if (evidence.some(({ truncated }) => truncated)) gaps.push({ code: 'truncated', check: name })
  }
  const shape = outcomes.find(({ name }) => name === 'spike')
  if (shape?.status === 'success' && shape.signals.enough === 0) gaps.push({ code: 'few_readings', check: null })
  if (subject.metric !== null && shape?.status === 'no_data') gaps.push({ code: 'young_device', check: null })
  const pipeline = outcomes.find(({ name }) => name === 'pipeline')
  if (pipeline?.facts.some(({ op }) => op === 'late_readings' || op === 'late') === true)
    gaps.push({ code: 'late_data', check: 'pipeline' })
  if (alertsTruncated) gaps.push({ code: 'truncated', check: null })
  if (pastFailed) gaps.push({ code: 'check_failed', check: null })
  if (outcomes.every(({ name, interesting }) => name === 'threshold' || !interesting)) gaps.push({ code: 'only_alert_seen', check: null })
  if (subject.cause === 'external') gaps.push({ code: 'said_elsewhere', check: null })
  return [...gaps, ...(await standing(subject, sources, bounded))]
}

/** Is the device known, and has the store what raised the alert? */
async function standing(subject: CheckSubject, sources: Sources, bounded: GapsOptions['bounded']): Promise<Gap[]> {
  if (subject.cause === 'platform') return []
  try {
    const [device, progress, anomaly] = await bounded(
      Promise.all([sources.device(subject.tenant, subject.device), sources.progress(), sources.anomaly(subject.tenant, subject.anomaly)]),
    )
    const place = anomaly === null ? undefined : progress.stored.find(({ partition }) => partition === anomaly.partition)
    const isBehind = anomaly !== null && anomaly.offset >= 0 && place !== undefined && place.nextOffset <= anomaly.offset
    return [
      ...(device === null ? [{ code: 'unknown_device' as const, check: null }] : []),
      ...(isBehind ? [{ code: 'store_behind' as const, check: null }] : []),
    ]
  } catch (error) {
    return [{ code: describeError(error).startsWith('it took more than') ? 'check_timed_out' : 'check_failed', check: null }]
  }
}
