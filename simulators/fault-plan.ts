import { integerBetween, seededRandom, type Random } from '../kernel/random.ts'
import type { DeviceProfile, Fault, FaultKind } from './device-profiles.ts'

export interface FaultPlanOptions {
  seed: number
  devices: readonly { id: string; profile: DeviceProfile }[]
  startTs: number
  /** Nothing goes wrong before this much time, in ms: detectors are still learning. */
  quietMs: number
  /** From the start of one fault to the start of the next, in ms. */
  everyMs: number
  /** How long one lasts, in ms. */
  lastsMs: number
}

const KINDS: readonly FaultKind[] = ['level-shift', 'spike', 'drift', 'noise', 'stuck', 'silence']
/** A spike is a few readings, whatever the others last. */
const SPIKE_PART = 0.1

/** Labelled faults, one after the other, for ever: the same seed gives the same faults. */
export function* faultPlan(options: FaultPlanOptions): Generator<Fault, never> {
  const random = seededRandom(`faults-${options.seed}`)
  for (let at = 0; ; at++) {
    const { id, profile } = options.devices[integerBetween(random, 0, options.devices.length - 1)] as FaultPlanOptions['devices'][number]
    const kind = KINDS[at % KINDS.length] as FaultKind
    const fromTs = options.startTs + options.quietMs + at * options.everyMs
    const lastsMs = kind === 'spike' ? options.lastsMs * SPIKE_PART : options.lastsMs
    yield { device: id, metric: kind === 'silence' ? '' : pickMetric(profile, random), kind, fromTs, toTs: fromTs + lastsMs }
  }
}

function pickMetric(profile: DeviceProfile, random: Random): string {
  const names = Object.keys(profile.metrics)
  return names[integerBetween(random, 0, names.length - 1)] as string
}
