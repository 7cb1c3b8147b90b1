import { InternalError } from '../../kernel/errors.ts'

/**
 * Where an agent is in a conversation: IDLE → WAITING → GENERATING → RESPONDING → WAITING. It goes back to WAITING from anywhere when there is
 * nothing to say, when words could not be had (a breaker is open, a lease ran out), or when what was said was said before.
 */
export const RUN_STATES = ['idle', 'waiting', 'generating', 'responding'] as const
export type RunState = (typeof RUN_STATES)[number]

const NEXT: Readonly<Record<RunState, readonly RunState[]>> = {
  idle: ['waiting'],
  waiting: ['generating', 'idle'],
  generating: ['responding', 'waiting'],
  responding: ['waiting'],
}

/** The state after this step; one that there is not is a bug of ours. */
export function step(from: RunState, to: RunState): RunState {
  if (!NEXT[from].includes(to)) throw new InternalError(`an agent cannot go from ${from} to ${to}`)
  return to
}

/** Of an agent as a whole: the state in which it is furthest from idle, in whichever conversation. */
export function furthest(states: Iterable<RunState>): RunState {
  let at = 0
  for (const state of states) at = Math.max(at, RUN_STATES.indexOf(state))
  return RUN_STATES[at] ?? 'idle'
}
