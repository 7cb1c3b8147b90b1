/**
 * Upper bound of a quantile of a Prometheus histogram, all labels and processes together: the bound of the bucket that it falls in, as
 * anyone who watches the metric sees it. Infinity: above the last bucket; 0 of nothing. `since`: what was there before is not counted.
 */
export function bucketQuantile(
  texts: readonly string[],
  name: string,
  quantile: number,
  since: readonly string[] = [],
): { count: number; value: number } {
  const counts = new Map<number, number>()
  const add = (text: string, sign: 1 | -1): void => {
    for (const [, bound, count] of text.matchAll(new RegExp(`^${name}_bucket\\{[^}]*le="([^"]+)"[^}]*\\} (\\d+)`, 'gm'))) {
      const le = bound === '+Inf' ? Infinity : Number(bound)
      counts.set(le, (counts.get(le) ?? 0) + sign * Number(count))
    }
  }
  for (const text of texts) add(text, 1)
  for (const text of since) add(text, -1)
  const total = counts.get(Infinity) ?? 0
  const bounds = [...counts].sort(([a], [b]) => a - b)
  const found = bounds.find(([, count]) => count >= total * quantile)
  return { count: total, value: total === 0 ? 0 : (found?.[0] ?? Infinity) }
}
