import type { Reading } from '../contracts/reading.ts'
import { SequenceRanges } from './sequence-ranges.ts'

/** `suspect`: only the store can tell. */
export type Novelty = 'new' | 'duplicate' | 'suspect'

/** Event times remembered for devices that send no seq: enough to settle ordinary disorder without asking the store. */
const RECENT_TIMES = 64

export interface IdentityBounds {
  bootsPerDeviceMax: number
  sequenceRangesMax: number
}

export interface IdentityData {
  boots: { boot: string; bounds: number[]; joinedGaps: number }[]
  bootsDropped: boolean
  recentTimes: number[]
  timesDropped: boolean
  missingOfDroppedBoots: number
}

/**
 * What one device has sent, by identity: (boot, seq, ts), or (ts) without seq. A reading with neither is always new.
 * Small and exact for what it says: `new` and `duplicate` are certain, everything else is a suspect.
 */
export class DeviceIdentity {
  readonly #bounds: IdentityBounds
  readonly boots = new Map<string, SequenceRanges>()
  /** Sorted, largest last. */
  #recentTimes: number[]
  #timesDropped: boolean
  #bootsDropped: boolean
  /** Numbers missing in boots that are no longer held. */
  missingOfDroppedBoots: number
  /** `missing` may have changed since somebody set this to false: a number came that was not simply the next one. */
  missingMoved = true

  constructor(bounds: IdentityBounds, data?: IdentityData) {
    this.#bounds = bounds
    for (const { boot, bounds: ranges, joinedGaps } of data?.boots ?? []) {
      this.boots.set(boot, new SequenceRanges(bounds.sequenceRangesMax, ranges, joinedGaps))
    }
    this.#bootsDropped = data?.bootsDropped ?? false
    this.#recentTimes = data?.recentTimes ?? []
    this.#timesDropped = data?.timesDropped ?? false
    this.missingOfDroppedBoots = data?.missingOfDroppedBoots ?? 0
  }

  toData(): IdentityData {
    return {
      boots: Array.from(this.boots, ([boot, ranges]) => ({ boot, bounds: [...ranges.bounds()], joinedGaps: ranges.joinedGaps })),
      bootsDropped: this.#bootsDropped,
      recentTimes: [...this.#recentTimes],
      timesDropped: this.#timesDropped,
      missingOfDroppedBoots: this.missingOfDroppedBoots,
    }
  }

  /** Numbers missing between the first and the last of each boot. */
  missing(): number {
    let missing = this.missingOfDroppedBoots
    for (const ranges of this.boots.values()) missing += ranges.missing()
    return missing
  }

  /** Is it new? Remembers it in the same step. */
  observe(reading: Reading): Novelty {
    if (reading.seq !== undefined) return this.#observeSequence(reading)
    return reading.tsAbsent === true ? 'new' : this.#observeTime(reading.ts)
  }

  /** A number that was received but rejected is not missing. */
  noteRejected(boot: string, seq: number): void {
    this.#add(this.#rangesOf(boot), seq)
  }

  #observeSequence(reading: Reading): Novelty {
    const boot = reading.boot ?? ''
    const known = this.boots.has(boot)
    const fresh = this.#add(this.#rangesOf(boot), reading.seq as number)
    if (fresh) return known || !this.#bootsDropped ? 'new' : 'suspect'
    return reading.tsAbsent === true ? 'duplicate' : 'suspect'
  }

  #add(ranges: SequenceRanges, seq: number): boolean {
    if (ranges.addNext(seq)) return true
    this.missingMoved = true
    return ranges.add(seq)
  }

  #rangesOf(boot: string): SequenceRanges {
    let ranges = this.boots.get(boot)
    if (ranges !== undefined) return ranges
    ranges = new SequenceRanges(this.#bounds.sequenceRangesMax)
    this.boots.set(boot, ranges)
    if (this.boots.size > this.#bounds.bootsPerDeviceMax) {
      const [oldest, dropped] = this.boots.entries().next().value as [string, SequenceRanges]
      this.missingOfDroppedBoots += dropped.missing()
      this.boots.delete(oldest)
      this.#bootsDropped = true
    }
    return ranges
  }

  #observeTime(ts: number): Novelty {
    const times = this.#recentTimes
    const largest = times[times.length - 1]
    if (largest === undefined || ts > largest) {
      times.push(ts)
      if (times.length > RECENT_TIMES) this.#forgetOldest()
      return 'new'
    }
    if (ts < (times[0] as number)) return this.#timesDropped ? 'suspect' : this.#insertTime(ts)
    return times.includes(ts) ? 'duplicate' : this.#insertTime(ts)
  }

  #insertTime(ts: number): Novelty {
    const at = this.#recentTimes.findIndex((other) => other > ts)
    this.#recentTimes.splice(at, 0, ts)
    if (this.#recentTimes.length > RECENT_TIMES) this.#forgetOldest()
    return 'new'
  }

  #forgetOldest(): void {
    this.#recentTimes.shift()
    this.#timesDropped = true
  }
}
