/** Labels as `name = value`, one a line. Throws an Error that names the line. */
export function labelsOf(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => line.trim())
  const pairs = lines.flatMap((line, i) => {
    if (line === '') return []
    const at = line.indexOf('=')
    if (at < 1) throw new Error(`Line ${i + 1} “${line}” is no label such as site = north.`)
    return [[line.slice(0, at).trim(), line.slice(at + 1).trim()]]
  })
  return Object.fromEntries(pairs) as Record<string, string>
}
