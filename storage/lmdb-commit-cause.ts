import { sleep, systemClock } from '../kernel/time.ts'

/** A cause that is told at all is told in the same turn of LMDB's own thread. */
const TOLD_WITHIN_MS = 100

/**
 * LMDB rejects every write of a failed commit with one general error that promises the cause. Where two commits fail together, the promise
 * of the second is never settled: then the general error is all there is.
 */
export async function commitCause(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  const told = Promise.resolve(error.commitError).then(
    () => error,
    (cause: unknown) => cause,
  )
  return Promise.race([told, sleep(systemClock, TOLD_WITHIN_MS).then(() => error)])
}

/** Is it the general error of a failed commit, without its cause? */
export function isUnexplainedCommit(error: unknown): boolean {
  return error instanceof Error && 'commitError' in error
}
