import { InvalidInputError } from '../kernel/errors.ts'
import type { Detector, Finding } from './detector.ts'

/** What is known of one series of labels: how often each was seen, and each after each. */
export interface LabelState {
  seen: number
  last: string | null
  /** Running mean of surprise, bits: what is usual for this series. */
  usualBits: number
  readonly counts: Map<string, number>
  /** Key: `JSON.stringify([before, after])`. */
  readonly transitions: Map<string, number>
}

/** Labels and transitions kept per series; later ones count as one more, nameless, each time they come. */
const LABELS_MAX = 32
const TRANSITIONS_MAX = 128
/** Longer labels are told apart by their first characters only. */
const LABEL_CHARS_MAX = 64
/** Weight of how often the label comes at all, against how often it comes after the one before. */
const BACK_OFF = 0.5
/** Bits of surprise above the usual at which novelty is 0.5. */
const HALF_NOVELTY_BITS = 10
const USUAL_RATE = 1 / 200
const WARM_UP_READINGS = 150
/** No usual surprise above this keeps a series of ever new labels from being an event each time. */
const BITS_MAX = 40

/**
 * Detector of series of words (modes, states): surprise, in bits, of a label after the label before it, against what is usual for the
 * series. A label never seen, or a transition seldom seen, in a series that has been orderly is novel; new words in a series that
 * always brings new words are not.
 */
export class LabelDetector implements Detector<LabelState, string> {
  readonly name = 'label-surprise'
  readonly version = 1
  readonly warmUpReadings = WARM_UP_READINGS

  create(): LabelState {
    return { seen: 0, last: null, usualBits: 0, counts: new Map(), transitions: new Map() }
  }

  novelty(state: LabelState, value: string): number {
    if (state.seen === 0) return 0
    const excess = bits(state, cut(value)) - state.usualBits
    return excess > 0 ? 1 - Math.pow(2, (-excess * Math.min(1, state.seen / WARM_UP_READINGS)) / HALF_NOVELTY_BITS) : 0
  }

  /** A label's novelty fades as soon as it was learnt: there is no repeat to keep low. */
  score(state: LabelState, value: string): number {
    return this.novelty(state, value)
  }

  learn(state: LabelState, value: string): void {
    const label = cut(value)
    if (state.seen > 0) state.usualBits += (bits(state, label) - state.usualBits) * Math.max(1 / state.seen, USUAL_RATE)
    count(state.counts, label, LABELS_MAX)
    if (state.last !== null) count(state.transitions, transition(state.last, label), TRANSITIONS_MAX)
    state.last = label
    state.seen++
  }

  explain(state: LabelState, value: string): Finding {
    const label = cut(value)
    const times = state.counts.get(label) ?? 0
    const [usual, usualTimes] = [...state.counts].reduce((most, entry) => (entry[1] > most[1] ? entry : most), ['', 0])
    const common = usual === '' ? '' : `; most often it is "${usual}" (${((100 * usualTimes) / state.seen).toFixed(0)} %)`
    const after = state.last === null ? 0 : (state.transitions.get(transition(state.last, label)) ?? 0)
    const what = times === 0 ? 'was never seen before' : `came ${after} times after "${state.last ?? ''}" and ${times} times in all`
    const novelty = this.novelty(state, value)
    return {
      sentence: `"${label}" ${what}${common}`,
      observed: null,
      expected: null,
      low: null,
      high: null,
      contributions: novelty > 0 ? [{ part: times === 0 ? 'new label' : 'rare transition', weight: novelty }] : [],
      detector: this.name,
      detectorVersion: this.version,
      parameters: { halfNoveltyBits: HALF_NOVELTY_BITS, usualRate: USUAL_RATE, warmUpReadings: WARM_UP_READINGS },
      readingsSeen: state.seen,
    }
  }

  seen(state: LabelState): number {
    return state.seen
  }

  snapshot(state: LabelState): Uint8Array {
    return Buffer.from(JSON.stringify({ ...state, counts: [...state.counts], transitions: [...state.transitions] }))
  }

  restore(bytes: Uint8Array): LabelState {
    try {
      const stored = JSON.parse(Buffer.from(bytes).toString()) as StoredLabelState
      return { ...stored, counts: new Map(stored.counts), transitions: new Map(stored.transitions) }
    } catch (cause) {
      throw new InvalidInputError('the bytes are not the state of a series of labels', {
        cause,
        remedy: 'Let the series be learnt anew: drop this snapshot.',
      })
    }
  }
}

interface StoredLabelState extends Omit<LabelState, 'counts' | 'transitions'> {
  counts: [string, number][]
  transitions: [string, number][]
}

/** Surprise of a label after the last one: the share of its transition, backed by its share of all, backed by one unseen label. */
function bits(state: LabelState, label: string): number {
  const share = ((state.counts.get(label) ?? 0) + BACK_OFF / (state.counts.size + 1)) / (state.seen + BACK_OFF)
  if (state.last === null) return Math.min(BITS_MAX, -Math.log2(share))
  const before = state.counts.get(state.last) ?? 0
  const after = state.transitions.get(transition(state.last, label)) ?? 0
  return Math.min(BITS_MAX, -Math.log2((after + BACK_OFF * share) / (Math.max(before, after) + BACK_OFF)))
}

function count(counts: Map<string, number>, key: string, max: number): void {
  const times = counts.get(key)
  if (times !== undefined || counts.size < max) counts.set(key, (times ?? 0) + 1)
}

function transition(before: string, after: string): string {
  return JSON.stringify([before, after])
}

function cut(label: string): string {
  return label.length > LABEL_CHARS_MAX ? label.slice(0, LABEL_CHARS_MAX) : label
}
