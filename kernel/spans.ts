import type { Logger } from './log.ts'
import { traceIdOf } from './trace-ids.ts'

/** A piece of work that is over. */
export interface Span {
  name: string
  correlationId: string
  spanId: string
  /** Absent: it began the trace. */
  parentSpanId?: string
  /** Epoch ms. */
  startedAt: number
  endedAt: number
  /** Ours, and `gen_ai.*` of the semantic conventions; never open text. */
  attributes: Readonly<Record<string, string | number>>
}

/** Where spans go besides the log. Never waits and never throws. */
export interface SpanSink {
  /** False: nobody would see what it takes. */
  readonly isOpen: boolean
  take(span: Span): void
}

/** Would anybody see a span? Where not, it need not be made. */
export function isSpanSeen(log: Logger, sink: SpanSink | undefined): boolean {
  return sink?.isOpen === true || log.isLevelEnabled('debug')
}

/** Says a span in the log, at level debug: one JSON line per span, that anything which reads logs can make a trace of; and hands it on. */
export function tellSpan(log: Logger, span: Span, sink?: SpanSink): void {
  if (!isSpanSeen(log, sink)) return
  const { name, correlationId, spanId, parentSpanId, startedAt, endedAt, attributes } = span
  const ids = { traceId: traceIdOf(correlationId), spanId, ...(parentSpanId === undefined ? {} : { parentSpanId }), correlationId }
  log.debug({ event: 'span', span: name, ...ids, startedAt, durationMs: endedAt - startedAt, attributes }, name)
  sink?.take(span)
}
