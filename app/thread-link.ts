import type { MetricFamily } from '../kernel/metrics.ts'
import type { TlsMaterial } from '../kernel/tls.ts'
import type { Config } from './config-sections.ts'
import type { Addresses } from './ready.ts'
import type { Target } from './targets.ts'

/** What the road thread is given. */
export interface RoadThreadData {
  config: Config
  /** Everything that runs in this process; the road thread runs all of it but the edge. */
  targets: readonly Target[]
  processId: string
  dataDirectory: string
}

/** An error as it crosses threads: enough to say it and to choose the exit code. */
export interface PlainError {
  code: string
  fault: 'caller' | 'operator' | 'environment' | 'bug'
  message: string
  remedy: string | undefined
}

export type FromRoad =
  | { kind: 'started'; addresses: Addresses; tls: TlsMaterial | undefined }
  | { kind: 'failed'; error: PlainError }
  | { kind: 'tls'; tls: TlsMaterial }
  /** The road asks the main thread about itself: its metrics, or what is not ready. */
  | { kind: 'ask'; id: number; question: 'metrics' | 'not-ready' }
  | { kind: 'stopped' }

/** Metrics, or what is not ready by part. */
export type EdgeAnswer = MetricFamily[] | Record<string, string>

export type ToRoad = { kind: 'answer'; id: number; answer: EdgeAnswer } | { kind: 'stop' }
