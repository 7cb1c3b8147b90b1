import { gaussian, type Random } from '../kernel/random.ts'

/** Kinds of events as GutenTAG makes them, each with a shape of its own; `k` of `length` readings, in the series' noise. */
export const EVENT_KINDS = {
  spike: { length: 1, at: () => 14 },
  dip: { length: 1, at: () => -14 },
  platform: { length: 8, at: () => 12 },
  trough: { length: 8, at: () => -12 },
  ramp: { length: 24, at: (k: number) => 1.2 * k },
  'trend down': { length: 24, at: (k: number) => -1.2 * k },
  'noise burst': { length: 20, at: (_k: number, random: Random) => 8 * gaussian(random) },
} as const
export type EventKind = keyof typeof EVENT_KINDS

export interface SeriesEvent {
  readonly kind: EventKind
  /** First reading of it, and the first after it. */
  readonly from: number
  readonly to: number
}

/** Waves, cycles and noise, as series that events befall. */
export const BASES = {
  sine: (i: number, random: Random) => 20 + 3 * Math.sin(i / 30) + 0.5 * gaussian(random),
  noise: (_i: number, random: Random) => 20 + 0.5 * gaussian(random),
  trend: (i: number, random: Random) => 20 + 0.01 * i + 0.5 * gaussian(random),
  'two waves': (i: number, random: Random) => 20 + 2 * Math.sin(i / 25) + Math.sin(i / 7) + 0.5 * gaussian(random),
} as const
const NOISE = 0.5

export interface EventSeries {
  readonly values: number[]
  readonly events: SeriesEvent[]
}

/** A series with events of `kinds` in turn, `every` readings apart on average, the first after `quiet` readings. */
export function seriesWithEvents(options: {
  base: keyof typeof BASES
  kinds: readonly EventKind[]
  readings: number
  quiet: number
  every: number
  random: Random
}): EventSeries {
  const { base, kinds, readings, quiet, every, random } = options
  const values = Array.from({ length: readings }, (_, i) => BASES[base](i, random))
  const events: SeriesEvent[] = []
  let from = quiet
  for (let turn = 0; ; turn++) {
    const kind = kinds[turn % kinds.length]
    if (kind === undefined) break
    const { length, at } = EVENT_KINDS[kind]
    if (from + length + every / 2 > readings) break
    // Events of one kind are alike, not equal.
    const size = 1 + 0.08 * gaussian(random)
    for (let k = 0; k < length; k++) values[from + k] = (values[from + k] ?? 0) + NOISE * size * at(k, random)
    events.push({ kind, from, to: from + length })
    from += Math.round(every * (0.8 + 0.4 * random.next()))
  }
  return { values, events }
}
