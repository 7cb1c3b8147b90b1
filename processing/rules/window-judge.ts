import type { WindowResult } from '../../contracts/window.ts'
import { verdictOf, type Aggregate, type RuleSettings } from './rule.ts'
import type { JudgedWindow, RuleTrack, Said, WindowBase } from './rule-track.ts'

/** Which verdicts are kept, because their windows may still be corrected. */
export interface HeldWindows {
  /** ms of event time after a window's end. */
  correctableMs: number
  max: number
}

/** What a track has to say of a window, and the window that it rests on. */
export interface WindowSaid {
  said: Said
  window: JudgedWindow
}

/**
 * A window judged by a rule; changes the track. What holds is always what the latest revisions of all windows say, in order of their time:
 * a correction is put in its window's place and all that follows is judged anew. So revision n + 1 updates, retracts, or raises late.
 */
export function judgeWindow(track: RuleTrack, rule: RuleSettings, result: WindowResult, held: HeldWindows, repeatMs: number): WindowSaid[] {
  if (rule.on.kind !== 'windows') return []
  const before = outcomeOf(track, rule)
  const window = judgedOf(result, rule.on.aggregate)
  const place = put(track, window)
  if (place === 'old') return []
  const after = outcomeOf(track, rule)
  track.lastTs = Math.max(track.lastTs, window.endTs)
  const said = difference(before, after, { window, isCorrection: place === 'corrected', track, repeatMs })
  track.raised = after.raised
  forget(track, rule, held)
  return said
}

export function figureOf(window: WindowResult, aggregate: Aggregate): number {
  if (aggregate === 'change') return window.last - window.first
  if (aggregate === 'rate') return ((window.last - window.first) * 1_000) / window.sizeMs
  return window[aggregate]
}

function judgedOf(result: WindowResult, aggregate: Aggregate): JudgedWindow {
  const { startTs, endTs, revision } = result
  return { startTs, endTs, revision, value: figureOf(result, aggregate) }
}

function put({ windows, lastTs }: RuleTrack, window: JudgedWindow): 'added' | 'corrected' | 'old' {
  const at = windows.findIndex(({ startTs }) => startTs >= window.startTs)
  const known = windows[at]
  if (known?.startTs === window.startTs) {
    if (known.revision >= window.revision) return 'old'
    windows[at] = window
    return 'corrected'
  }
  // Its first revision was judged and is not held any more, or came before the rule.
  if (window.revision > 1 && window.endTs <= lastTs) return 'old'
  if (at < 0) windows.push(window)
  else windows.splice(at, 0, window)
  return 'added'
}

interface Outcome extends WindowBase {
  /** Windows with which it began to be broken for long enough, and those with which that ended. */
  raises: JudgedWindow[]
  clears: JudgedWindow[]
  /** The newest window that breaks it. */
  latest: JudgedWindow | null
}

function outcomeOf({ base, windows }: RuleTrack, rule: RuleSettings): Outcome {
  const outcome: Outcome = { ...base, raises: [], clears: [], latest: null }
  for (const window of windows) {
    const next = step(outcome, rule, window)
    if (next.raised && !outcome.raised) outcome.raises.push(window)
    if (!next.raised && outcome.raised) outcome.clears.push(window)
    if (next.raised && verdictOf(rule, window.value) === 'breach') outcome.latest = window
    outcome.raised = next.raised
    outcome.sinceTs = next.sinceTs
  }
  return outcome
}

function step({ raised, sinceTs }: WindowBase, rule: RuleSettings, { startTs, endTs, value }: JudgedWindow): WindowBase {
  const verdict = verdictOf(rule, value)
  if (raised) return verdict === 'fine' ? { raised: false, sinceTs: null } : { raised, sinceTs }
  if (verdict !== 'breach') return { raised: false, sinceTs: null }
  const since = sinceTs ?? startTs
  return { raised: endTs - since >= rule.forMs, sinceTs: since }
}

interface Change {
  window: JudgedWindow
  isCorrection: boolean
  track: RuleTrack
  repeatMs: number
}

function difference(before: Outcome, after: Outcome, { window, isCorrection, track, repeatMs }: Change): WindowSaid[] {
  if (track.raised && !after.raised) {
    // Nothing that is known now would have raised it.
    const wasNever = isCorrection && after.raises.length === 0 && after.clears.length === 0
    return [{ said: wasNever ? 'retracted' : 'cleared', window: wasNever ? window : (after.clears.at(-1) ?? window) }]
  }
  const { latest } = after
  if (!track.raised && after.raised) return [tell(track, 'raised', latest ?? window)]
  // It was broken for a while in between, which nobody knew.
  const raise = after.raises.findLast((raised) => !before.raises.some(({ startTs }) => startTs === raised.startTs))
  if (!track.raised && raise !== undefined)
    return [tell(track, 'raised', raise), { said: 'cleared', window: after.clears.at(-1) ?? window }]
  if (!after.raised || latest === null) return []
  const wasCorrected = isCorrection && latest.startTs === window.startTs
  if (!wasCorrected && latest.endTs - track.toldTs < repeatMs) return []
  return [tell(track, 'repeated', latest)]
}

function tell(track: RuleTrack, said: Said, window: JudgedWindow): WindowSaid {
  track.toldTs = window.endTs
  return { said, window }
}

/** Windows that can no longer be corrected become what came before. */
function forget(track: RuleTrack, rule: RuleSettings, { correctableMs, max }: HeldWindows): void {
  const { windows } = track
  let gone = 0
  while (gone < windows.length) {
    const oldest = windows[gone] as JudgedWindow
    if (oldest.endTs + correctableMs > track.lastTs && windows.length - gone <= max) break
    track.base = step(track.base, rule, oldest)
    gone++
  }
  windows.splice(0, gone)
}
