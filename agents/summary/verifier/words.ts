import type { ClaimOp } from '../claim.ts'

/** Words that say nothing by themselves: anything may be joined with them. Neither numbers, nor quantities, nor negations. */
export const GLUE: ReadonlySet<string> = new Set(
  (
    'a an the this that these those its it their they which what where when while as at in on of by to from for with and or but than then ' +
    'since after before until during within between into over is are was were be been being has have had does did there here also still ' +
    'again now incident device devices metric reading readings value figure alert alerts change unusual compared s'
  ).split(' '),
)

/** Content words, and the claims of which one must be the nearest figure, before or after: what they say is what that claim says. */
const SAYS: readonly [words: string, ops: readonly ClaimOp[]][] = [
  ['reached peak peaked farthest', ['peak', 'max', 'observed', 'value', 'peak_at']],
  ['highest maximum', ['max']],
  ['lowest minimum', ['min']],
  ['mean average', ['mean']],
  ['median', ['usual', 'shift', 'shift_spreads']],
  ['usual usually typical', ['usual', 'usual_gap', 'usual_delay', 'peak_spreads', 'shift_spreads', 'width_ratio', 'step_ratio']],
  ['expected', ['expected']],
  ['began begin begins start started', ['onset']],
  ['silent silence heard received', ['silent_for', 'last_seen', 'longest_gap']],
  ['interval intervals', ['usual_gap', 'longest_gap']],
  ['scatter scattered scatters', ['width_ratio', 'step_ratio']],
  ['stuck same unchanged', ['longest_same']],
  ['score scored', ['score', 'weight']],
  ['others neighbours peers', ['compared', 'moved', 'together']],
  ['together alike', ['together']],
  ['firmware', ['firmware_changes']],
  ['configuration', ['config_changes']],
  [
    'changed changes',
    ['changes', 'firmware_changes', 'config_changes', 'change_at', 'compared', 'moved', 'together', 'shift', 'shift_spreads'],
  ],
  ['security finding findings', ['findings', 'shared_identity']],
  ['identity', ['shared_identity']],
  ['maintenance', ['maintenance']],
  ['rejected aside', ['rejected', 'rejected_time', 'rejected_content']],
  ['late later', ['late', 'late_readings', 'delay']],
  ['duplicate duplicates twice', ['duplicate']],
  ['missing lost', ['missing']],
  ['delay delayed', ['delay', 'usual_delay']],
]

export const OPS_OF_WORD: ReadonlyMap<string, readonly ClaimOp[]> = new Map(
  SAYS.flatMap(([words, ops]) => words.split(' ').map((word) => [word, ops] as const)),
)

/** Words with a direction: the next figure is a signed one, and goes that way. */
export const DIRECTIONS: ReadonlyMap<string, 1 | -1> = new Map([
  ...'rose rise rises rising risen increased increase increases up upward upwards higher above climbed grew'
    .split(' ')
    .map((word) => [word, 1] as const),
  ...'fell fall falls falling fallen decreased decrease decreases down downward downwards lower below dropped sank'
    .split(' ')
    .map((word) => [word, -1] as const),
])

/** Whose sign is a direction. */
export const SIGNED_OPS: ReadonlySet<ClaimOp> = new Set(['shift', 'shift_spreads', 'peak_spreads', 'trend_spreads'])
