import { maskSecrets } from '../../kernel/mask.ts'
import type { Span } from '../../kernel/spans.ts'
import { traceIdOf } from '../../kernel/trace-ids.ts'

/* OTLP 1.x, JSON encoding: names in lowerCamelCase, ids in hexadecimal, 64-bit integers as decimal strings, enumerations as numbers. */

const INTERNAL = 1
const CLIENT = 3
/** Of a span's status. */
const ERROR = 2
/** Longest value of an attribute; ours are ids and words. */
const VALUE_LENGTH_MAX = 1_000

type Value = { stringValue: string } | { intValue: string } | { doubleValue: number }

/** An `ExportTraceServiceRequest` of these spans. */
export function exportRequest(spans: readonly Span[], resource: Readonly<Record<string, string | number>>): object {
  return {
    resourceSpans: [
      { resource: { attributes: attributesOf(resource) }, scopeSpans: [{ scope: { name: 'fleetpulse' }, spans: spans.map(spanOf) }] },
    ],
  }
}

function spanOf({ name, correlationId, spanId, parentSpanId, startedAt, endedAt, attributes }: Span): object {
  return {
    ...{ traceId: traceIdOf(correlationId), spanId, ...(parentSpanId === undefined ? {} : { parentSpanId }), name },
    kind: name.startsWith('http.') ? CLIENT : INTERNAL,
    ...{ startTimeUnixNano: nanosecondsOf(startedAt), endTimeUnixNano: nanosecondsOf(endedAt) },
    attributes: attributesOf({ ...attributes, 'fleetpulse.correlation_id': correlationId }),
    ...('error.type' in attributes ? { status: { code: ERROR } } : {}),
  }
}

function attributesOf(attributes: Readonly<Record<string, string | number>>): { key: string; value: Value }[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: valueOf(value) }))
}

/** The one place that spans leave by: what looks like a key is masked. */
function valueOf(value: string | number): Value {
  if (typeof value === 'string') return { stringValue: maskSecrets(value).slice(0, VALUE_LENGTH_MAX) }
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

function nanosecondsOf(ms: number): string {
  return `${Math.round(ms)}000000`
}
