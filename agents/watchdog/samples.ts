/** One sample of Prometheus text. */
export interface Sample {
  labels: Readonly<Record<string, string>>
  value: number
}

const LABEL = /([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\]|\\.)*)"/g

/** All samples of one metric in Prometheus text exposition (0.0.4). What is no number is left out. */
export function samplesOf(text: string, name: string): Sample[] {
  const samples: Sample[] = []
  for (const line of text.split('\n')) {
    if (!line.startsWith(name)) continue
    const rest = line.slice(name.length)
    const end = rest.startsWith('{') ? rest.lastIndexOf('}') : 0
    if (end < 0 || (end === 0 && !rest.startsWith(' '))) continue
    const value = Number(
      rest
        .slice(end === 0 ? 0 : end + 1)
        .trim()
        .split(' ')[0],
    )
    if (!Number.isFinite(value)) continue
    const labels: Record<string, string> = {}
    for (const [, label = '', quoted = ''] of rest.slice(0, end).matchAll(LABEL))
      labels[label] = quoted.replace(/\\(.)/g, (_all, c: string) => (c === 'n' ? '\n' : c))
    samples.push({ labels, value })
  }
  return samples
}
