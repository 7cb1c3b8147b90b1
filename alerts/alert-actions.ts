import type { AlertChangeKind, Severity } from '../contracts/alert.ts'
import { ConflictError, InvalidInputError } from '../kernel/errors.ts'
import { withTimes, type AlertDocument } from './alert-document.ts'
import { entryOf, nextEscalation, resolveAlert, staleAt, withHistory, type Author, type LifecycleLimits } from './alert-lifecycle.ts'

/** Pure steps of an alert's life by people. Each throws ConflictError where the state forbids it, InvalidInputError for what cannot be meant. */

export interface ActionContext {
  author: Author
  nowMs: number
  limits: LifecycleLimits & { silenceMaxMs: number }
}

type Step = (alert: AlertDocument, context: ActionContext) => AlertDocument

/** What people do: the change it is told as, and the step. `on` carries what some of them need. */
export const ACTIONS = {
  acknowledge: { change: 'acknowledged', step: () => acknowledge },
  resolve: { change: 'resolved', step: () => resolve },
  reopen: { change: 'reopened', step: () => reopen },
  comment: { change: 'commented', step: () => comment },
  suppress: { change: 'suppressed', step: () => suppress },
  restore: { change: 'restored', step: () => restore },
  silence: { change: 'silenced', step: ({ untilMs }) => silenceUntil(untilMs) },
  snooze: { change: 'snoozed', step: ({ untilMs }) => snoozeUntil(untilMs) },
  assign: { change: 'assigned', step: ({ assignee }) => assignTo(assignee) },
  'set-severity': { change: 'severity-changed', step: ({ severity }) => setSeverity(severity) },
} as const satisfies Record<string, { change: AlertChangeKind; step: (on: ActionArguments) => Step }>
export type AlertAction = keyof typeof ACTIONS

export interface ActionArguments {
  /** Epoch ms; of silence and snooze. */
  untilMs?: number
  /** Null: nobody. */
  assignee?: string | null
  severity?: Severity
}

/** Only an open alert can be acknowledged: somebody looks after it, and it does not escalate. */
function acknowledge(alert: AlertDocument, { author, nowMs, limits }: ActionContext): AlertDocument {
  if (alert.state !== 'open') throw illegal(alert, 'acknowledged', 'only an open alert can be')
  const assignee = alert.assignee ?? author.by
  const next = withTimes({ ...alert, state: 'acknowledged', assignee }, { escalate: null })
  return withHistory(next, entryOf('acknowledged', author, nowMs), limits.historyMax)
}

function resolve(alert: AlertDocument, { author, nowMs, limits }: ActionContext): AlertDocument {
  if (alert.state === 'resolved') throw illegal(alert, 'resolved', 'it is already')
  return resolveAlert(alert, author, nowMs, limits)
}

/** It was resolved too early; not once another alert of the same cause has followed. */
function reopen(alert: AlertDocument, { author, nowMs, limits }: ActionContext): AlertDocument {
  if (alert.state !== 'resolved') throw illegal(alert, 'reopened', 'only a resolved alert can be')
  if (alert.isFinal) throw illegal(alert, 'reopened', 'another alert of the same cause followed it')
  const next: AlertDocument = { ...alert, state: 'open', resolvedAt: null, clearedTs: null, escalation: 0 }
  const quiet = next.quiet === null ? null : nowMs
  const timed = withTimes(next, { escalate: nextEscalation(next, nowMs, limits), quiet, stale: staleAt(nowMs, limits) })
  return withHistory(timed, entryOf('reopened', author, nowMs), limits.historyMax)
}

function comment(alert: AlertDocument, { author, nowMs, limits }: ActionContext): AlertDocument {
  if (author.note === undefined || author.note.trim() === '') throw invalid('note', 'a comment says something')
  return withHistory(alert, entryOf('commented', author, nowMs), limits.historyMax)
}

/** No notices until somebody restores it; for what is known and will stay. */
function suppress(alert: AlertDocument, { author, nowMs, limits }: ActionContext): AlertDocument {
  if (alert.state === 'resolved') throw illegal(alert, 'suppressed', 'a resolved alert gives no notices')
  if (alert.suppressedBy !== null) throw illegal(alert, 'suppressed', 'it is already')
  const next = withTimes({ ...alert, suppressedBy: author.by }, { escalate: null })
  return withHistory(next, entryOf('suppressed', author, nowMs), limits.historyMax)
}

function restore(alert: AlertDocument, { author, nowMs, limits }: ActionContext): AlertDocument {
  const isHeldBack = alert.suppressedBy !== null || (alert.silencedUntil ?? 0) > nowMs || (alert.snoozedUntil ?? 0) > nowMs
  if (alert.state === 'resolved' || !isHeldBack) throw illegal(alert, 'restored', 'its notices are not held back')
  const next: AlertDocument = { ...alert, suppressedBy: null, silencedUntil: null, snoozedUntil: null }
  const timed = withTimes(next, { wake: null, escalate: nextEscalation(next, nowMs, limits) })
  return withHistory(timed, entryOf('restored', author, nowMs), limits.historyMax)
}

/** No notices until then, except that it resolved. */
function silenceUntil(untilMs: number | undefined): Step {
  return (alert, { author, nowMs, limits }) => {
    const until = checkedTime(untilMs, nowMs, limits.silenceMaxMs)
    if (alert.state === 'resolved') throw illegal(alert, 'silenced', 'a resolved alert gives no notices')
    return withHistory({ ...alert, silencedUntil: until }, entryOf('silenced', author, nowMs), limits.historyMax)
  }
}

/** Looked at later: no notices until then; if it is not resolved by then, it is open again and told anew. */
function snoozeUntil(untilMs: number | undefined): Step {
  return (alert, { author, nowMs, limits }) => {
    const until = checkedTime(untilMs, nowMs, limits.silenceMaxMs)
    if (alert.state === 'resolved') throw illegal(alert, 'snoozed', 'a resolved alert gives no notices')
    const next = withTimes({ ...alert, snoozedUntil: until }, { wake: until, escalate: null })
    return withHistory(next, entryOf('snoozed', author, nowMs), limits.historyMax)
  }
}

function assignTo(assignee: string | null | undefined): Step {
  return (alert, { author, nowMs, limits }) => {
    if (assignee === undefined || (assignee !== null && !/^[^\s].{0,127}$/.test(assignee))) {
      throw invalid('assignee', 'an assignee is a name of 1 to 128 characters, or null for nobody')
    }
    if (alert.state === 'resolved') throw illegal(alert, 'assigned', 'it is over')
    const to = assignee === null ? 'nobody' : assignee
    const note = author.note === undefined ? `to ${to}` : `to ${to}: ${author.note}`
    return withHistory({ ...alert, assignee }, entryOf('assigned', { by: author.by, note }, nowMs), limits.historyMax)
  }
}

/** From then on anomalies do not change it any more. */
function setSeverity(severity: Severity | undefined): Step {
  return (alert, { author, nowMs, limits }) => {
    if (severity === undefined) throw invalid('severity', 'severity is warning or critical')
    if (alert.state === 'resolved') throw illegal(alert, 'made milder or worse', 'it is over')
    const next = { ...alert, severity, isSeverityFixed: true }
    return withHistory(next, entryOf('severity-changed', author, nowMs), limits.historyMax)
  }
}

function checkedTime(untilMs: number | undefined, nowMs: number, atMostMs: number): number {
  if (untilMs !== undefined && Number.isInteger(untilMs) && untilMs > nowMs && untilMs <= nowMs + atMostMs) return untilMs
  throw invalid('until', `until must lie in the future, at most ${atMostMs} ms away`)
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(problem, { details: { field } })
}

function illegal(alert: AlertDocument, to: string, because: string): ConflictError {
  return new ConflictError(`alert ${alert.id} is ${alert.state} and cannot be ${to}: ${because}`, { details: { state: alert.state } })
}
