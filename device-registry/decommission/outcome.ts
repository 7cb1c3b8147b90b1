/** What a turn of a step came to. */
export type Outcome =
  | { status: 'done'; result: Record<string, unknown> }
  /** To be saved before the step goes on: a crash repeats nothing of it. */
  | { status: 'progress'; progress: Record<string, unknown> }
  /** Nothing to do for so long, unless something comes in; `trouble` says why that is not well. */
  | { status: 'wait'; ms: number; trouble?: string }

export function done(result: Record<string, unknown>): Outcome {
  return { status: 'done', result }
}
