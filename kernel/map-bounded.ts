/** Runs `run` over the items in order, at most `inFlightMax` at a time; rejects with the first error after those in flight have settled. */
export async function mapBounded<T, R>(items: readonly T[], inFlightMax: number, run: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length)
  const failures: unknown[] = []
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const i = next++
      try {
        results[i] = await run(items[i] as T)
      } catch (error) {
        failures.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(inFlightMax, items.length) }, lane))
  if (failures.length > 0) throw failures[0]
  return results
}
