import type { Summary } from '../summary/summary.ts'

type Title = Summary['sections'][number]['title']

/** Which section answers which words. The question is only compared with these: it is nobody's instruction. */
const TOPICS: readonly { words: RegExp; title: Title }[] = [
  { words: /\b(?:why|causes?|reasons?|because)\b/i, title: 'Possible causes' },
  { words: /\b(?:impact|bad|affected|devices?|wide|severe)\b/i, title: 'Impact' },
  { words: /\b(?:before|history|past|similar|again|earlier)\b/i, title: 'Seen before' },
  { words: /\b(?:do|check|fix|steps?|runbook|next)\b/i, title: 'What to check' },
  { words: /\b(?:missing|unknown|unchecked|sure|certain|gaps?|not)\b/i, title: 'What could not be checked' },
  { words: /\b(?:evidence|proof|figures?|readings?|sources?|how)\b/i, title: 'Evidence' },
  { words: /\b(?:what|happened|when)\b/i, title: 'What happened' },
]
const SECTIONS_MAX = 2

/** The local reporter's answer: the parts of the checked digest that the question is about, else the headline and what happened. */
export function answerFrom(summary: Summary | null, question: string): { content: string; evidence: string[] } {
  if (summary === null) return { content: 'There is no digest yet; the checks are under way.', evidence: [] }
  const wanted = TOPICS.filter(({ words }) => words.test(question))
    .map(({ title }) => title)
    .slice(0, SECTIONS_MAX)
  const titles: readonly Title[] = wanted.length === 0 ? ['What happened'] : wanted
  const sections = summary.sections.filter(({ title }) => titles.includes(title))
  const lines = sections.flatMap(({ title, lines: said }) => [title, ...said])
  const content = [...(wanted.length === 0 ? [summary.headline] : []), ...lines, summary.label].join('\n')
  return { content, evidence: Object.values(summary.evidence) }
}
