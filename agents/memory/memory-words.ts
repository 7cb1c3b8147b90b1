import { displayText, tainted } from '../evidence/tainted.ts'
import type { Memory } from './memory-document.ts'
import type { Recall } from './memories.ts'

const STATEMENT_SHOWN_MAX = 300

/** What the historian remembers, for people: how incidents with these causes ended, and what people stated of these devices, with evidence. */
export function memoryWords({ resolutions, statements }: Recall, evidenceOf: (statement: Memory) => string): string[] {
  return [...resolutionLines(resolutions), ...statements.map((each) => statementLine(each, evidenceOf(each)))]
}

function resolutionLines(resolutions: readonly Memory[]): string[] {
  const byCause = new Map<string, Memory[]>()
  for (const each of resolutions) byCause.set(each.cause ?? '', [...(byCause.get(each.cause ?? '') ?? []), each])
  return [...byCause].map(([cause, all]) => {
    const byPeople = all.filter(({ resolution }) => resolution === 'operator').length
    const took = all.flatMap(({ tookMs }) => (tookMs === null ? [] : [tookMs])).toSorted((a, b) => a - b)
    const middle = took[Math.floor(took.length / 2)]
    const minutes = middle === undefined ? '' : `, half of them within ${Math.max(1, Math.round(middle / 60_000))} min`
    return `Remembered: ${all.length} incident(s) with ${cause} at devices of this type ended, ${byPeople} of them by people${minutes}.`
  })
}

function statementLine({ by, at, content, devices, incident }: Memory, evidence: string): string {
  const words = displayText(tainted(content ?? ''), STATEMENT_SHOWN_MAX)
  return `Remembered: ${by ?? ''} stated of ${devices.slice(0, 3).join(', ')} on ${new Date(at).toISOString()} (incident ${incident}): “${words}” [${evidence}]`
}
