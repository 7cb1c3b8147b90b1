import type { LabelMatcher } from '../api/alerting-types.ts'

/** `site = north`, as people write it. */
export function matcherText({ label, is, isNot, like, notLike }: LabelMatcher): string {
  if (is !== undefined) return `${label} = ${is}`
  if (isNot !== undefined) return `${label} ≠ ${isNot}`
  return like !== undefined ? `${label} like ${like}` : `${label} not like ${notLike ?? ''}`
}

const LINE = /^([A-Za-z_][\w.-]*)\s*(=|≠|!=|not like|like)\s*(.*)$/

/** One condition a line, as `matcherText` writes them. Throws an Error that names the line. */
export function matchersOf(text: string): LabelMatcher[] {
  const lines = text.split('\n').map((line) => line.trim())
  return lines.flatMap((line, i): LabelMatcher[] => {
    if (line === '') return []
    const [, label, operator, value] = LINE.exec(line) ?? []
    if (label === undefined || value === undefined) throw new Error(`Line ${i + 1} “${line}” is no condition such as site = north or device like pump-*.`)
    if (operator === '=') return [{ label, is: value }]
    if (operator === 'like') return [{ label, like: value }]
    return [operator === 'not like' ? { label, notLike: value } : { label, isNot: value }]
  })
}
