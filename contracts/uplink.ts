import type { RejectReason } from './reading.ts'

/**
 * What the broker (or another door) hands to ingest: one publish of an authenticated device.
 * `path` is the topic below `devices/{device}/`, for instance `telemetry` or `commands/42/result`.
 */
export interface Uplink {
  tenant: string
  device: string
  path: string
  payload: Uint8Array
  /** The certificate that the device showed, upper-case hex; absent where it showed none (a will left behind, another broker). */
  serial?: string
  /** The topic it came on, where that is not `devices/{device}/{path}`. */
  topic?: string
  /** Epoch ms at which the packet was read. */
  receivedAt: number
  correlationId: string
}

/**
 * What became of one reading of a telemetry payload. `payload`: the whole of it was set aside, because it holds no readings that could be told
 * apart; it is then the only outcome.
 */
export type ReadingOutcome =
  { status: 'accepted' } | { status: 'rejected'; of: 'reading' | 'payload'; reason: RejectReason; detail: string }

/** Ingest as the doors see it. */
export interface UplinkSink {
  /**
   * Takes one publish; `done` is called once: without an error when everything in it is durable (only then may it be acknowledged),
   * with one when it may not be (the door closes the connection, and the device sends again).
   * Bad payloads are set aside durably and count as done: they never reach `done` as an error.
   * A door that can tell its device more asks with `onReading`: it is called for each reading of a telemetry payload, in the payload's order,
   * before `done`; what it was told holds only when `done` comes without an error.
   */
  accept(uplink: Uplink, done: (error?: Error) => void, onReading?: (outcome: ReadingOutcome) => void): void
}

/** For doors that take messages on somebody else's word: some of those are of no device of ours. */
export interface SetAsideSink {
  /** Puts a message that is nobody's to accept with the rejected readings; `done` as in UplinkSink. */
  setAside(uplink: Uplink, reason: RejectReason, detail: string, done: (error?: Error) => void): void
}
