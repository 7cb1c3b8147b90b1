import { matches, type LabelMatcher } from '../../contracts/label-matcher.ts'

/** A route before another one below the same parent that takes what it matches and does not continue. */
export interface Taking {
  /** Dotted, from the parent. */
  path: string
  matchers: readonly LabelMatcher[]
}

/**
 * Why no notice can come to a route with these conditions, `above` those of the routes that lead to it; null where one may. Only what can be
 * told for sure: conditions that no value of a label meets, and an earlier route with some of the same conditions and no others.
 */
export function whyUnreachable(
  matchers: readonly LabelMatcher[],
  above: readonly LabelMatcher[],
  before: readonly Taking[],
): string | null {
  const all = [...above, ...matchers]
  for (const wanted of all) {
    if (!('is' in wanted)) continue
    const others = all.filter(({ label }) => label === wanted.label)
    if (!matches(others, { [wanted.label]: wanted.is }))
      return `nothing can reach it: ${wanted.label} cannot be all that is asked of it here`
  }
  const known = new Set(all.map(keyOf))
  const taking = before.find((route) => route.matchers.every((matcher) => known.has(keyOf(matcher))))
  if (taking === undefined) return null
  const what = taking.matchers.length === 0 ? 'everything' : 'all that it does'
  return `nothing can reach it: ${taking.path} before it matches ${what} and does not continue`
}

function keyOf({ label, ...condition }: LabelMatcher): string {
  return JSON.stringify([label, ...Object.entries(condition)])
}
