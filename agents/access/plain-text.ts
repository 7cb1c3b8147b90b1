import { displayText, tainted } from '../evidence/tainted.ts'

/** What people write, as it is kept and shown: several lines of plain text, nothing hidden in them, no longer than `lengthMax` code points. */
export function plainText(text: string, lengthMax: number): string {
  const lines = text.slice(0, lengthMax * 4).split(/\r?\n/)
  return displayLines(lines, lengthMax).join('\n')
}

function displayLines(lines: readonly string[], lengthMax: number): string[] {
  const shown: string[] = []
  let left = lengthMax
  for (const line of lines) {
    if (left <= 0) break
    const text = displayText(tainted(line), left)
    shown.push(text)
    left -= text.length + 1
  }
  return shown
}
