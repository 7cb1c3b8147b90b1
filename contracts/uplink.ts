/**
 * What the broker (or another door) hands to ingest: one publish of an authenticated device.
 * `path` is the topic below `devices/{device}/`, for instance `telemetry` or `commands/42/result`.
 */
export interface Uplink {
  tenant: string
  device: string
  path: string
  payload: Uint8Array
  /** Epoch ms at which the packet was read. */
  receivedAt: number
  correlationId: string
}

/** Ingest as the doors see it. */
export interface UplinkSink {
  /**
   * Takes one publish; `done` is called once: without an error when everything in it is durable (only then may it be acknowledged),
   * with one when it may not be (the door closes the connection, and the device sends again).
   * Bad payloads are set aside durably and count as done: they never reach `done` as an error.
   */
  accept(uplink: Uplink, done: (error?: Error) => void): void
}
