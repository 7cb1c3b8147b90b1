import { GENERIC_TYPE, type DeviceType } from '../contracts/device.ts'

/** 2000-01-01T00:00:00Z: event time before it is a clock that was never set, not a recording. */
export const EARLIEST_TS = 946_684_800_000
/** Ten minutes: more than clocks drift between two synchronisations. */
export const FUTURE_TOLERANCE_MS = 600_000

/** The type every unknown device gets: any metric, silence learnt from its own pace. */
export function genericType(tenant: string, nowMs: number): DeviceType {
  return {
    id: GENERIC_TYPE,
    tenant,
    open: true,
    metrics: {},
    silenceAfterMs: null,
    futureToleranceMs: FUTURE_TOLERANCE_MS,
    earliestTs: EARLIEST_TS,
    createdAt: nowMs,
    updatedAt: nowMs,
  }
}
