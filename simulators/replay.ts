import { createHash } from 'node:crypto'
import { EnvironmentError } from '../kernel/errors.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { DeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { DeviceConnection } from './device-connection.ts'
import type { RecordedRow } from './recorded-series.ts'

export interface ReplayOptions {
  rows: readonly RecordedRow[]
  device: string
  bundle: DeviceBundle
  host: string
  port: number
  /** How many times faster than recorded; Infinity as fast as it is acknowledged. */
  speed: number
  clock: Clock
  onProgress: (acked: number) => void
}

/** Readings sent and not yet acknowledged: the default limit of a device. */
const INFLIGHT_MAX = 100
const KEEP_ALIVE_S = 60
/** Well within the keep-alive: between two readings of a slow recording there is nothing else to send. */
const PING_MS = 20_000
const PROGRESS_EVERY_MS = 100
const POLL_MS = 2

/** Publishes recorded rows in their order, each with its own event time; resolves when all are acknowledged. */
export async function replaySeries(options: ReplayOptions): Promise<{ acked: number; seconds: number }> {
  const { rows, device, bundle, host, port, speed, clock, onProgress } = options
  let acked = 0
  let closed: Error | undefined
  const connection = new DeviceConnection({
    host,
    port,
    device,
    bundle,
    keepAliveS: KEEP_ALIVE_S,
    onAcked: (ids) => (acked += ids.length),
    onClosed: (error) => (closed = error ?? new EnvironmentError('CONNECTION_CLOSED', `${device}: the broker closed the connection`)),
  })
  await connection.open()
  const startMs = clock.monotonicMs()
  const firstTs = rows[0]?.ts ?? 0
  const boot = recordingId(rows)
  let sent = 0
  let progressMs = startMs
  let pingedMs = startMs
  while (acked < rows.length) {
    if (closed !== undefined) throw new EnvironmentError('CONNECTION_CLOSED', `${device}: ${acked} of ${rows.length} readings were acknowledged before the connection closed`, { cause: closed })
    const nowMs = clock.monotonicMs()
    const payloads: Buffer[] = []
    while (sent < rows.length && sent - acked < INFLIGHT_MAX && isDue(rows[sent] as RecordedRow, firstTs, nowMs - startMs, speed)) {
      const row = rows[sent] as RecordedRow
      payloads.push(Buffer.from(JSON.stringify({ ts: row.ts, boot, seq: sent, values: row.values })))
      sent++
    }
    if (payloads.length > 0) connection.publishAll(payloads)
    if (nowMs - pingedMs > PING_MS) {
      connection.ping()
      pingedMs = nowMs
    }
    if (nowMs - progressMs > PROGRESS_EVERY_MS) {
      onProgress(acked)
      progressMs = nowMs
    }
    await sleep(clock, POLL_MS)
  }
  onProgress(acked)
  connection.close()
  return { acked, seconds: (clock.monotonicMs() - startMs) / 1_000 }
}

function isDue(row: RecordedRow, firstTs: number, passedMs: number, speed: number): boolean {
  return speed === Infinity || (row.ts - firstTs) / speed <= passedMs
}

/** The recording is its own boot: the same one replayed again is recognised, reading by reading. */
function recordingId(rows: readonly RecordedRow[]): string {
  return `replay-${createHash('sha256').update(JSON.stringify(rows)).digest('hex').slice(0, 16)}`
}
