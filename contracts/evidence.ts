import { Type, type Static } from 'typebox'

const orNull = <T>(inner: ReturnType<typeof Type.Integer> | ReturnType<typeof Type.String>, description: string) =>
  Type.Unsafe<T | null>(Type.Union([inner, Type.Null()], { description }))

/** One value that was read, and where it lies in the log. */
export const EvidenceReadingSchema = Type.Object({
  device: Type.String(),
  metric: Type.String({ description: 'empty: the whole reading' }),
  ts: orNull<number>(Type.Integer(), 'event time, epoch ms; null where only its place is known'),
  value: Type.Unsafe<number | boolean | string | null>({
    type: ['number', 'boolean', 'string', 'null'],
    description: 'null where there is none',
  }),
  topic: Type.String(),
  partition: orNull<number>(Type.Integer(), 'null where it is not known'),
  offset: orNull<number>(Type.Integer(), 'null where it is not known'),
})
export type EvidenceReading = Static<typeof EvidenceReadingSchema>

/** The time that was judged: a window of topic `windows`, or a span from the first thing seen to the last. */
export const EvidenceWindowSchema = Type.Object({
  kind: Type.Unsafe<'tumbling' | 'hopping' | 'span'>({ type: 'string', enum: ['tumbling', 'hopping', 'span'] }),
  startTs: Type.Integer({ description: 'epoch ms' }),
  endTs: Type.Integer({ description: 'epoch ms; exclusive for windows' }),
  id: orNull<string>(Type.String(), 'of the window; null for a span'),
  revision: orNull<number>(Type.Integer(), 'of the window that was judged last; null for a span'),
  aggregate: orNull<string>(Type.String(), 'which of its figures was judged; null for a span'),
  value: Type.Unsafe<number | null>({ type: ['number', 'null'], description: 'that figure' }),
})
export type EvidenceWindow = Static<typeof EvidenceWindowSchema>

/** What an alert rests on, beside its explanation. */
export const EvidenceSchema = Type.Object({
  readings: Type.Array(EvidenceReadingSchema, { description: 'the first and the latest ones, in order; none where nothing was read' }),
  window: Type.Unsafe<EvidenceWindow | null>(Type.Union([EvidenceWindowSchema, Type.Null()])),
  versions: Type.Record(Type.String(), Type.Unsafe<string | number>({ type: ['string', 'number'] }), {
    description: 'of what judged: `detector` and `detectorVersion` always, `model…`, `rule` and `ruleVersion`, `check` where there is one',
  }),
})
export type Evidence = Static<typeof EvidenceSchema>

/** Of alerts of earlier releases. */
export const NO_EVIDENCE: Evidence = { readings: [], window: null, versions: {} }

/** A span of time without a window of its own. */
export function spanOf(startTs: number, endTs: number): EvidenceWindow {
  return { kind: 'span', startTs, endTs, id: null, revision: null, aggregate: null, value: null }
}
