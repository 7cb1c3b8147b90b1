import { isQuietAt, type AlertChangeKind } from '../contracts/alert.ts'
import { withTimes, type AlertDocument } from './alert-document.ts'
import { nextEscalation, resolveAlert, withHistory, type LifecycleLimits, type Surroundings } from './alert-lifecycle.ts'

export interface Elapsed {
  alert: AlertDocument
  changes: AlertChangeKind[]
}

/**
 * Pure: what time alone did to an alert by now. `around` is what surrounds it now; it is asked where the alert's quiet is due. Answers
 * no change where nothing was due any more: the cause came back, or a person was faster.
 */
export function elapse(alert: AlertDocument, around: Surroundings, nowMs: number, limits: LifecycleLimits): Elapsed {
  const isDue = (time: number | null): boolean => time !== null && time <= nowMs
  if (alert.state === 'resolved')
    return { alert: withTimes(alert, { resolve: null, stale: null, wake: null, escalate: null, quiet: null }), changes: [] }
  if (isDue(alert.times.resolve)) return ended(alert, 'the cause stayed away for the quiet time', nowMs, limits)
  if (isDue(alert.times.stale)) return ended(alert, 'nothing was heard of it for long', nowMs, limits)
  const elapsed: Elapsed = { alert, changes: [] }
  const isTelling = isDue(alert.times.wake) || isDue(alert.times.escalate)
  // What would be told now is not, where a quiet began since the alert was last looked at.
  if (isDue(alert.times.quiet) || (isTelling && alert.quiet === null && around.quiet !== null)) askQuiet(elapsed, around, nowMs, limits)
  if (isDue(alert.times.wake)) wake(elapsed, nowMs, limits)
  if (isDue(alert.times.escalate)) escalate(elapsed, nowMs, limits)
  return elapsed
}

/** What surrounds it changed, or may have: the quiet begins, goes on under another reason, or ends. */
export function askQuiet(elapsed: Elapsed, around: Surroundings, nowMs: number, limits: LifecycleLimits): void {
  const { alert } = elapsed
  const [was, is] = [alert.quiet, around.quiet]
  const next = withTimes({ ...alert, quiet: is }, { quiet: around.askAgainAt })
  if (was === null && is !== null) {
    step(elapsed, next, 'quieted', nowMs, limits, reasonOf(is))
  } else if (was !== null && is === null) {
    step(elapsed, withTimes(next, { escalate: nextEscalation(next, nowMs, limits) }), 'resumed', nowMs, limits, `${reasonOf(was)} is over`)
  } else elapsed.alert = next
}

function ended(alert: AlertDocument, note: string, nowMs: number, limits: LifecycleLimits): Elapsed {
  return { alert: resolveAlert(alert, { by: 'system', note }, nowMs, limits), changes: ['resolved'] }
}

/** Who snoozed it wanted to see it again: it is open, whoever had acknowledged it. */
function wake(elapsed: Elapsed, nowMs: number, limits: LifecycleLimits): void {
  const next: AlertDocument = { ...elapsed.alert, state: 'open', snoozedUntil: null }
  const timed = withTimes(next, { wake: null, escalate: nextEscalation(next, nowMs, limits) })
  step(elapsed, timed, 'woken', nowMs, limits, 'the snooze is over')
}

/** While nobody is told, nobody can be expected to come: then the step waits for the quiet's end. */
function escalate(elapsed: Elapsed, nowMs: number, limits: LifecycleLimits): void {
  const { alert } = elapsed
  if (alert.state !== 'open' || (isQuietAt(alert, nowMs) && (alert.silencedUntil ?? 0) <= nowMs)) {
    elapsed.alert = withTimes(alert, { escalate: null })
  } else if ((alert.silencedUntil ?? 0) > nowMs) {
    elapsed.alert = withTimes(alert, { escalate: alert.silencedUntil })
  } else {
    const next = { ...alert, escalation: alert.escalation + 1 }
    const timed = withTimes(next, { escalate: nextEscalation(next, nowMs, limits) })
    step(elapsed, timed, 'escalated', nowMs, limits, `step ${next.escalation}: nobody acknowledged it`)
  }
}

function step(elapsed: Elapsed, next: AlertDocument, change: AlertChangeKind, nowMs: number, limits: LifecycleLimits, note: string): void {
  elapsed.alert = withHistory(next, { at: nowMs, by: 'system', action: change, note }, limits.historyMax)
  elapsed.changes.push(change)
}

function reasonOf({ reason }: { reason: string }): string {
  return reason === 'maintenance' ? 'maintenance' : 'the silence of its gateway'
}
