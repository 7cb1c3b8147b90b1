import type { LoadResult } from '../load-generator.ts'

/** A whole system, from MQTT to a queryable store, that takes its turn under the same load. */
export interface Contender {
  readonly name: string
  /** Why it cannot run here, or null. */
  missing(): string | null
  start(): Promise<void>
  /** How the load generator reaches it. */
  loadOptions(): Readonly<Record<string, string | number>>
  /** Resolves when so many rows in all are queryable; answers that moment, epoch ms. */
  queryable(rows: number): Promise<number>
  /** Processor time of all its processes so far, s. */
  cpuSeconds(): number
  stop(): Promise<void>
}

export interface Turn {
  messagesPerS: number
  cpuSecondsPerMillion: number
  load: LoadResult
}
