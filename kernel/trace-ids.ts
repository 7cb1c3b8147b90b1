import { createHash } from 'node:crypto'

/*
 * Ids of traces are made from correlation ids, and ids of spans from what they are about: every process knows them without being told, and
 * a step that is repeated has the same. Shapes: W3C Trace Context §3.2.2.
 */

/** 32 hex digits of a correlation id. */
export function traceIdOf(correlationId: string): string {
  return hex(`trace\n${correlationId}`, 32)
}

/** 16 hex digits of what names one span among all. */
export function spanIdOf(...names: readonly (string | number)[]): string {
  return hex(`span\n${names.join('\n')}`, 16)
}

/** As headers and events carry it; always sampled. */
export function traceparentOf(correlationId: string, spanId: string): string {
  return `00-${traceIdOf(correlationId)}-${spanId}-01`
}

/** No id is all zeros. */
function hex(text: string, digits: number): string {
  const id = createHash('sha256').update(text).digest('hex').slice(0, digits)
  return /^0+$/.test(id) ? `1${id.slice(1)}` : id
}
