import { READING, REJECTED_READING, type RejectedReading } from '../contracts/reading.ts'
import { deviceKey } from '../contracts/topics.ts'
import type { Uplink } from '../contracts/uplink.ts'
import type { LogMessage } from '../storage/event-log/event-log.ts'
import type { RawReading, Rejection } from './reading-check.ts'

/** The constant start of every reading of one device, and its log key. */
export interface DeviceEnvelope {
  key: string
  prefix: string
}

export function deviceEnvelope(tenant: string, device: string, type: string): DeviceEnvelope {
  const identity = JSON.stringify({ tenant, device, type })
  return { key: deviceKey(tenant, device), prefix: `${identity.slice(0, -1)},"receivedAt":` }
}

const OPENING_BRACE = 0x7b

/**
 * A reading as a log message. When the payload is one object with only known keys its bytes are kept as they are
 * (numbers keep their spelling and nothing is written twice); the platform's fields go in front.
 */
export function encodeReading(envelope: DeviceEnvelope, uplink: Uplink, raw: RawReading, verbatim: Uint8Array | null): LogMessage {
  const timeless = raw.ts === undefined ? `"ts":${uplink.receivedAt},"tsAbsent":true,` : ''
  const head = `${envelope.prefix}${uplink.receivedAt},"correlationId":"${uplink.correlationId}",${timeless}`
  if (verbatim !== null) {
    const start = verbatim.indexOf(OPENING_BRACE) + 1
    const headBytes = Buffer.byteLength(head)
    const value = Buffer.allocUnsafe(headBytes + verbatim.length - start)
    value.write(head, 0, 'utf8')
    value.set(start === 0 ? verbatim : verbatim.subarray(start), headBytes)
    return { key: envelope.key, schema: READING, value }
  }
  const body: RawReading = { values: raw.values }
  if (raw.ts !== undefined) body.ts = raw.ts
  if (raw.boot !== undefined) body.boot = raw.boot
  if (raw.seq !== undefined) body.seq = raw.seq
  return { key: envelope.key, schema: READING, value: Buffer.from(head + JSON.stringify(body).slice(1)) }
}

/**
 * A rejected reading as a log message: `bytes` as they arrived (an element of an array is written anew), and what was decoded of them,
 * if anything.
 */
export function encodeRejected(uplink: Uplink, rejection: Rejection, bytes: Uint8Array, decoded: unknown, payloadBytesMax: number): LogMessage {
  const payload = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const rejected: RejectedReading = {
    tenant: uplink.tenant,
    device: uplink.device,
    receivedAt: uplink.receivedAt,
    correlationId: uplink.correlationId,
    topic: uplink.topic ?? `devices/${uplink.device}/${uplink.path}`,
    reason: rejection.reason,
    detail: rejection.detail,
    payloadBase64: payload.subarray(0, payloadBytesMax).toString('base64'),
    payloadBytes: payload.length,
    ...sequenceOf(decoded),
  }
  return { key: deviceKey(uplink.tenant, uplink.device), schema: REJECTED_READING, value: Buffer.from(JSON.stringify(rejected)) }
}

/** Boot and seq of a rejected reading, where they can be read: it was received, so the ledger must not call it missing. */
function sequenceOf(decoded: unknown): { boot?: string; seq?: number } {
  if (typeof decoded !== 'object' || decoded === null) return {}
  const { boot, seq } = decoded as Record<string, unknown>
  return {
    ...(typeof boot === 'string' && boot.length <= 64 ? { boot } : {}),
    ...(Number.isSafeInteger(seq) ? { seq: seq as number } : {}),
  }
}
