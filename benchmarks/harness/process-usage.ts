import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { every, systemClock, type Timer } from '../../kernel/time.ts'

let ticksPerS: number | undefined

/** Processor time a process used so far, all its threads, in s; NaN where the system does not tell (only Linux does). */
export function cpuSeconds(pid: number): number {
  const path = `/proc/${pid}/stat`
  if (!existsSync(path)) return NaN
  ticksPerS ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
  // The name in brackets may hold anything; the numbers begin behind it with field 3.
  const fields = readFileSync(path, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerS
}

/** Anonymous memory of a process in MiB: what it really holds, without mapped files; NaN where the system does not tell. */
export function anonymousMb(pid: number): number {
  const path = `/proc/${pid}/status`
  if (!existsSync(path)) return NaN
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync(path, 'utf8'))?.[1]) / 1_024
}

const SAMPLE_MS = 1_000

/** Anonymous memory of a process, once a second. */
export class MemorySamples {
  readonly #pid: number
  readonly #samplesMb: number[] = []
  #timer: Timer | undefined

  constructor(pid: number) {
    this.#pid = pid
  }

  start(): void {
    const sample = (): void => void this.#samplesMb.push(Math.round(anonymousMb(this.#pid)))
    this.#timer = every(systemClock, SAMPLE_MS, sample, (error) => {
      throw error
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  get samplesMb(): readonly number[] {
    return this.#samplesMb
  }

  /** Growth over the second half in %: the mean of its last fifth against the mean of its first fifth, so that one sample says nothing. */
  get secondHalfGrowthPercent(): number {
    const half = this.#samplesMb.slice(Math.floor(this.#samplesMb.length / 2))
    const fifth = Math.max(1, Math.floor(half.length / 5))
    const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
    return (mean(half.slice(-fifth)) / mean(half.slice(0, fifth)) - 1) * 100
  }
}
