/** Why a signal of ours was aborted. */
export type AbortReason = 'timeout' | 'stopped'

/** Rejects as soon as the signal aborts, whatever the promise does; what the promise does afterwards is nobody's business any more. */
export async function raceAbort<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  let end = (): void => {}
  const aborted = new Promise<never>((_, reject) => {
    end = () => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', end)
  }
}
