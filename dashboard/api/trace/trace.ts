import { Type, type Static } from 'typebox'

export const TRACE_KINDS = ['reading', 'anomaly', 'alert', 'incident', 'conversation', 'message', 'evidence', 'digest', 'delivery'] as const
export type TraceKind = (typeof TRACE_KINDS)[number]

/** One thing on the way from readings to what people were told. */
export const TraceNodeSchema = Type.Object({
  key: Type.String({ description: '`KIND:ID`' }),
  kind: Type.Unsafe<TraceKind>({ type: 'string', enum: [...TRACE_KINDS] }),
  id: Type.String({ description: 'as its own route takes it; of a reading DEVICE@TS' }),
  at: Type.Union([Type.Integer(), Type.Null()], { description: 'when it came to be, epoch ms; of a reading its event time' }),
  says: Type.String({ description: 'for people; it may hold text of devices' }),
  correlationId: Type.Union([Type.String(), Type.Null()], { description: 'of the packet that began it; logs and events bear it' }),
  from: Type.Array(Type.String(), { description: 'keys of what it came from, as far as they are in this trace' }),
})
export type TraceNode = Static<typeof TraceNodeSchema>

/** A chain with all its branches: readings first, each thing after those that it came from. */
export const TraceSchema = Type.Object({
  asked: Type.String(),
  incident: Type.String(),
  correlationId: Type.String({ description: 'of the incident: that of its first alert' }),
  traceId: Type.String({ description: 'the same as 32 hex digits, as spans and the traceparent of events bear it' }),
  truncated: Type.Boolean({ description: 'there was more than fits' }),
  nodes: Type.Array(TraceNodeSchema),
})
export type Trace = Static<typeof TraceSchema>

export function traceKey(kind: TraceKind, id: string): string {
  return `${kind}:${id}`
}

export function readingId(device: string, ts: number): string {
  return `${device}@${ts}`
}

/** Device and event time of a reading's id; null for anything else. */
export function readingOf(id: string): { device: string; ts: number } | null {
  const [, device, ts] = /^([A-Za-z0-9][A-Za-z0-9._-]{0,63})@(\d{1,15})$/.exec(id) ?? []
  return device === undefined || ts === undefined ? null : { device, ts: Number(ts) }
}

/** Collects nodes once each, and keeps only what they come from that is there as well. */
export class TraceBook {
  readonly #nodes = new Map<string, TraceNode>()
  readonly #nodesMax: number
  truncated = false

  constructor(nodesMax: number) {
    this.#nodesMax = nodesMax
  }

  /** Answers its key. */
  add(kind: TraceKind, id: string, node: Omit<TraceNode, 'key' | 'kind' | 'id'>): string {
    const key = traceKey(kind, id)
    if (this.#nodes.has(key)) return key
    if (this.#nodes.size >= this.#nodesMax) this.truncated = true
    else this.#nodes.set(key, { key, kind, id, ...node })
    return key
  }

  nodes(): TraceNode[] {
    const rank = (node: TraceNode): number => TRACE_KINDS.indexOf(node.kind)
    return [...this.#nodes.values()]
      .map((node) => ({ ...node, from: node.from.filter((key) => this.#nodes.has(key)) }))
      .sort((a, b) => rank(a) - rank(b) || (a.at ?? 0) - (b.at ?? 0))
  }
}
