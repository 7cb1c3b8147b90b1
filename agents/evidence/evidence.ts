import { createHash } from 'node:crypto'
import { canonicalJson } from '../../kernel/canonical-json.ts'

export const EVIDENCE_KINDS = [
  'reading',
  'window_stats',
  'deviation',
  'model_score',
  'attribution',
  'peer_comparison',
  'gap',
  'registry_fact',
  'history',
  'pipeline_health',
  'operator_statement',
] as const
export type EvidenceKind = (typeof EVIDENCE_KINDS)[number]

/** `success`; `no_data`: it could be asked and there is nothing to say; `error`: it could not be asked. */
export const CHECK_STATUSES = ['success', 'no_data', 'error'] as const
export type CheckStatus = (typeof CHECK_STATUSES)[number]

/** Event time, epoch ms; `from` included and `to` not. */
export interface TimeWindow {
  from: number
  to: number
}

/** One metric of one device. */
export interface Series {
  device: string
  metric: string
}

/**
 * What was asked, so that anybody can ask again: with `asOf`, only what was received by then counts. Thresholds are part of the question.
 * `tenant` is not: it is that of the incident.
 */
export type EvidenceQuery =
  | ({ kind: 'reading'; ts: number } & Series)
  | ({ kind: 'window_stats'; window: TimeWindow } & Series)
  | ({ kind: 'deviation'; window: TimeWindow; baseline: TimeWindow; beyondSpreads: number } & Series)
  | { kind: 'model_score' | 'attribution'; anomaly: string }
  | {
      kind: 'peer_comparison'
      /** The series that the others are compared with, and the others: the same metric elsewhere, or other metrics of the device. */
      of: Series
      series: Series[]
      window: TimeWindow
      baseline: TimeWindow
      /** From here on a median counts as moved. */
      movedSpreads: number
    }
  | { kind: 'peer_comparison'; silent: string; devices: string[]; window: TimeWindow; baseline: TimeWindow }
  | { kind: 'gap'; device: string; fromTs: number; toTs: number }
  | { kind: 'registry_fact'; fact: 'alerts'; incident: string; through: string }
  | { kind: 'registry_fact'; fact: 'changes' | 'findings' | 'maintenance'; device: string; type: string; fromMs: number; toMs: number }
  | { kind: 'history'; incident: string; beforeMs: number; features: number[]; similarFrom: number }
  | {
      kind: 'pipeline_health'
      device: string
      window: TimeWindow
      baseline: TimeWindow
      /** Receipt, epoch ms: the ledger is by hours of it. */
      received: TimeWindow
    }
  /** Of the platform itself: what was seen of a trouble when its alert opened. */
  | { kind: 'pipeline_health'; incident: string; trouble: string }
  | { kind: 'operator_statement'; by: string; at: number; textSha256: string }

/** Figures by name; words only from closed lists of ours. */
export type EvidenceResult = Readonly<Record<string, number | string | null>>

/** Where a reading stands. A row of the store has no id: device, metric and time name it. */
export interface ReadingRef {
  device: string
  metric: string
  ts: number
}

/** Immutable: the id is a hash of the rest. */
export interface Evidence {
  /** `ev_` and 16 hex digits. */
  id: string
  kind: EvidenceKind
  status: CheckStatus
  /** Watermark: what was received later does not count, epoch ms. */
  asOf: number
  query: EvidenceQuery
  result: EvidenceResult
  refs: ReadingRef[]
  /** A bound cut off part of what it rests on. */
  truncated: boolean
}

const ID_HEX_DIGITS = 16

/** The id that this evidence must have. */
export function evidenceId({ kind, status, asOf, query, result, refs, truncated }: Omit<Evidence, 'id'>): string {
  const content = canonicalJson(wellFormed({ kind, status, asOf, query, result, refs, truncated }))
  return `ev_${createHash('sha256').update(content).digest('hex').slice(0, ID_HEX_DIGITS)}`
}

const HALF_PAIR = /\p{Surrogate}/gu

/** A metric's name may hold half a surrogate pair, of which canonical JSON knows nothing (RFC 8785 §3.2.2.2). */
function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(HALF_PAIR, '\ufffd')
  if (Array.isArray(value)) return value.map(wellFormed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, wellFormed(one)]))
}
