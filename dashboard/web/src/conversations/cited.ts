export type CitedPart = { kind: 'text'; text: string } | { kind: 'evidence'; handle: string; id: string }

/** A line of a digest, taken apart at its citations: `[E3]` where E3 is evidence of this digest; anything else is text. */
export function citedParts(line: string, evidence: Readonly<Record<string, string>>): CitedPart[] {
  const parts: CitedPart[] = []
  for (const [i, piece] of line.split(/\[(E\d{1,3})\]/).entries()) {
    const id = i % 2 === 1 && Object.hasOwn(evidence, piece) ? evidence[piece] : undefined
    if (id !== undefined) parts.push({ kind: 'evidence', handle: piece, id })
    else if (piece !== '') parts.push({ kind: 'text', text: i % 2 === 1 ? `[${piece}]` : piece })
  }
  return parts
}
