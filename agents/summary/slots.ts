import type { ClaimId, DeviceHandle, EvidenceHandle, MetricHandle } from './claim.ts'

/** What of a claim a slot shows: its figure with unit, which way it went, or what it is. */
export const SLOT_FIELDS = ['value', 'direction', 'name'] as const
export type SlotField = (typeof SLOT_FIELDS)[number]

export type TextPart =
  | { kind: 'words'; text: string }
  | { kind: 'device'; handle: DeviceHandle }
  | { kind: 'metric'; handle: MetricHandle }
  | { kind: 'claim'; claim: ClaimId; field: SlotField }
  | { kind: 'citation'; evidence: EvidenceHandle }

const SLOT = /\{dev:(D[1-9]\d{0,2})\}|\{metric:(M[1-9]\d{0,2})\}|\{c:(c[1-9]\d{0,2})\.(value|direction|name)\}|\[ev:(E[1-9]\d{0,2})\]/g

/** Text as words and slots. Anything that looks like a slot and is none stays words, where no brace or bracket is allowed. */
export function partsOf(text: string): TextPart[] {
  const parts: TextPart[] = []
  let at = 0
  for (const match of text.matchAll(SLOT)) {
    if (match.index > at) parts.push({ kind: 'words', text: text.slice(at, match.index) })
    at = match.index + match[0].length
    const [, device, metric, claim, field, evidence] = match
    if (device !== undefined) parts.push({ kind: 'device', handle: device as DeviceHandle })
    else if (metric !== undefined) parts.push({ kind: 'metric', handle: metric as MetricHandle })
    else if (claim !== undefined) parts.push({ kind: 'claim', claim: claim as ClaimId, field: field as SlotField })
    else parts.push({ kind: 'citation', evidence: evidence as EvidenceHandle })
  }
  if (at < text.length) parts.push({ kind: 'words', text: text.slice(at) })
  return parts
}
