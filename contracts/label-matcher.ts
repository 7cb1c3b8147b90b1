import { Type, type Static } from 'typebox'

/** Longest pattern: with `*` alone it is matched in time proportional to both lengths' product. */
const PATTERN_LENGTH_MAX = 128
const LabelName = Type.String({ minLength: 1, maxLength: 64, pattern: '^[A-Za-z_][A-Za-z0-9_.-]*$', description: 'name of a label' })
const Pattern = Type.String({
  maxLength: PATTERN_LENGTH_MAX,
  description: '`*` stands for any text, also none; empty: the label is absent or empty',
})

/** One condition on labels: exactly one of `is`, `isNot`, `like`, `notLike`. */
export const LabelMatcherSchema = Type.Union([
  Type.Object({ label: LabelName, is: Type.String({ maxLength: PATTERN_LENGTH_MAX }) }, { additionalProperties: false }),
  Type.Object({ label: LabelName, isNot: Type.String({ maxLength: PATTERN_LENGTH_MAX }) }, { additionalProperties: false }),
  Type.Object({ label: LabelName, like: Pattern }, { additionalProperties: false }),
  Type.Object({ label: LabelName, notLike: Pattern }, { additionalProperties: false }),
])
export type LabelMatcher = Static<typeof LabelMatcherSchema>

export const MATCHERS_MAX = 16
export const LabelMatchersSchema = Type.Array(LabelMatcherSchema, {
  maxItems: MATCHERS_MAX,
  description: 'all must hold; none: everything matches',
})

/** A label that is absent counts as empty. */
export function matches(matchers: readonly LabelMatcher[], labels: Readonly<Record<string, string>>): boolean {
  return matchers.every((matcher) => matchesOne(matcher, labels[matcher.label] ?? ''))
}

function matchesOne(matcher: LabelMatcher, value: string): boolean {
  if ('is' in matcher) return value === matcher.is
  if ('isNot' in matcher) return value !== matcher.isNot
  if ('like' in matcher) return isLike(value, matcher.like)
  return !isLike(value, matcher.notLike)
}

/** Greedy match with one point to go back to: no pattern makes it slow, as a regular expression could. */
export function isLike(value: string, pattern: string): boolean {
  let [at, star, resume] = [0, -1, 0]
  let p = 0
  while (at < value.length) {
    if (pattern[p] === '*') {
      star = p++
      resume = at
    } else if (p < pattern.length && pattern[p] === value[at]) {
      p++
      at++
    } else if (star >= 0) {
      p = star + 1
      at = ++resume
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

/** How people write it: `site = "north"`. */
export function describeMatcher(matcher: LabelMatcher): string {
  if ('is' in matcher) return `${matcher.label} = ${matcher.is}`
  if ('isNot' in matcher) return `${matcher.label} ≠ ${matcher.isNot}`
  if ('like' in matcher) return `${matcher.label} like ${matcher.like}`
  return `${matcher.label} not like ${matcher.notLike}`
}
