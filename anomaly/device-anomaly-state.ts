import type { ByteWriter } from '../kernel/byte-stream.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import { createTrack, restoreTrack, snapshotOf, type Detectors, type MetricTrack, type Raised, type ValueKind } from './metric-track.ts'
import { newSilence, type SilenceState } from './silence.ts'

/** What the anomaly operator knows of one device. */
export interface DeviceAnomalyState {
  readonly tenant: string
  readonly device: string
  type: string
  readonly metrics: Map<string, MetricTrack>
  readonly silence: SilenceState
}

/** The part of a stored state that is text; the tracks' snapshots follow it, in order, as bytes. */
interface Header {
  tenant: string
  device: string
  type: string
  silence: Omit<SilenceState, 'countFromMs'>
  metrics: { name: string; kind: ValueKind; raised: Raised | null; bytes: number }[]
}

const LENGTH_BYTES = 4

export function newDeviceState(tenant: string, device: string, type: string): DeviceAnomalyState {
  return { tenant, device, type, metrics: new Map(), silence: newSilence() }
}

/** The metric's track: a fresh one when the metric is new or its values changed their kind; undefined when the device has too many. */
export function trackOf(
  state: DeviceAnomalyState,
  detectors: Detectors,
  metric: string,
  kind: ValueKind,
  metricsMax: number,
): MetricTrack | undefined {
  const track = state.metrics.get(metric)
  if (track !== undefined && track.kind === kind) return track
  if (track === undefined && state.metrics.size >= metricsMax) return undefined
  const fresh = createTrack(detectors, kind)
  fresh.raised = track?.raised ?? null
  state.metrics.set(metric, fresh)
  return fresh
}

/** Layout: length of the header (4 bytes, little-endian), the header as JSON, the snapshots one after the other. */
export function encodeDeviceState(state: DeviceAnomalyState, detectors: Detectors, into: ByteWriter): void {
  const snapshots = [...state.metrics.values()].map((track) => snapshotOf(detectors, track))
  const { countFromMs: _notStored, ...silence } = state.silence
  const header: Header = {
    tenant: state.tenant,
    device: state.device,
    type: state.type,
    silence,
    metrics: [...state.metrics].map(([name, track], index) => ({
      name,
      kind: track.kind,
      raised: track.raised,
      bytes: snapshots[index]?.byteLength ?? 0,
    })),
  }
  const text = JSON.stringify(header)
  into.uint32(Buffer.byteLength(text))
  into.characters(text)
  for (const snapshot of snapshots) into.bytes(snapshot)
}

/** Throws InvalidInputError when the bytes are not such a state. */
export function decodeDeviceState(bytes: Uint8Array, detectors: Detectors): DeviceAnomalyState {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const header = readHeader(buffer)
  const state = newDeviceState(header.tenant, header.device, header.type)
  Object.assign(state.silence, header.silence)
  let at = LENGTH_BYTES + buffer.readUInt32LE(0)
  for (const metric of header.metrics) {
    state.metrics.set(metric.name, restoreTrack(detectors, metric.kind, buffer.subarray(at, at + metric.bytes), metric.raised))
    at += metric.bytes
  }
  return state
}

function readHeader(buffer: Buffer): Header {
  try {
    return JSON.parse(buffer.subarray(LENGTH_BYTES, LENGTH_BYTES + buffer.readUInt32LE(0)).toString()) as Header
  } catch (cause) {
    throw new InvalidInputError('the bytes are not the anomaly state of a device', {
      cause,
      remedy: 'Drop this state: the device is learnt anew.',
    })
  }
}
