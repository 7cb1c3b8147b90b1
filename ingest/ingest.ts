import type { DeviceState, DeviceType, MetricKind } from '../contracts/device.ts'
import { DEVICE_MESSAGE, type DeviceMessage } from '../contracts/device-message.ts'
import type { RejectReason } from '../contracts/reading.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import type { ReadingOutcome, SetAsideSink, Uplink, UplinkSink } from '../contracts/uplink.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { EnvironmentError, InternalError, LimitError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import type { Service } from '../kernel/service.ts'
import type { Clock } from '../kernel/time.ts'
import type { Documents } from '../storage/documents/documents.ts'
import type { EventLog, LogMessage } from '../storage/event-log/event-log.ts'
import type { IngestConfig } from './config.ts'
import { decodeJson } from './decode.ts'
import { deviceEnvelope, encodeReading, encodeRejected, type DeviceEnvelope } from './encode.ts'
import { MetricCatalogue } from './metric-catalogue.ts'
import { checkReading, type RawReading, type Rejection } from './reading-check.ts'
import { TurnBatch } from './turn-batch.ts'

export interface IngestOptions {
  config: IngestConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  registry: RegistryView
  eventLog: EventLog
  documents: Documents
}

interface KnownDevice {
  type: DeviceType
  envelope: DeviceEnvelope
  /** Kinds of the metrics seen for the type; the catalogue's own map, which grows. */
  metrics: ReadonlyMap<string, MetricKind>
}

type Done = (error?: Error) => void
type OnReading = (outcome: ReadingOutcome) => void

const ACCEPTED: ReadingOutcome = { status: 'accepted' }

/** From a door to the log: decodes, validates, appends, and says `done` only when it is on disk. */
export class Ingest implements Service, UplinkSink, SetAsideSink {
  readonly name = 'ingest'
  readonly #options: IngestOptions
  readonly #catalogue: MetricCatalogue
  readonly #batch: TurnBatch
  /** By tenant and device: no key is put together for a publish. */
  readonly #devices = new Map<string, Map<string, KnownDevice>>()
  readonly #readings
  readonly #rejected
  /** Readings since the counter was told: it is told once per append, not once per reading. */
  #uncounted = 0
  #started = false

  constructor(options: IngestOptions) {
    this.#options = options
    this.#catalogue = new MetricCatalogue(options.documents)
    const appendSeconds = options.metrics.histogram('ingest_append_seconds', 'From the append of a turn to durable', LATENCY_BUCKETS_S)
    this.#batch = new TurnBatch({
      eventLog: options.eventLog,
      clock: options.clock,
      pendingBytesMax: options.config.pendingBytesMax,
      onAppended: (seconds) => {
        appendSeconds.observe(seconds)
        this.#readings.inc(this.#uncounted)
        this.#uncounted = 0
      },
    })
    this.#readings = options.metrics.counter('ingest_readings_total', 'Readings accepted and appended')
    this.#rejected = options.metrics.counter('ingest_rejected_readings_total', 'Readings set aside', ['reason'])
    options.metrics.gaugeOf('ingest_pending_bytes', 'Bytes waiting to become durable', () => this.#batch.pendingBytes)
  }

  async start(): Promise<void> {
    if (this.#started) return
    await this.#catalogue.start()
    this.#started = true
  }

  async stop(): Promise<void> {
    await this.#batch.drain()
    this.#started = false
  }

  /** See UplinkSink. */
  accept(uplink: Uplink, done: Done, onReading?: OnReading): void {
    if (this.#batch.isFull) {
      done(new LimitError('ingest.pendingBytesMax is reached: the log does not keep up'))
      return
    }
    if (uplink.path === 'telemetry') this.#acceptTelemetry(uplink, done, onReading)
    else this.#acceptMessage(uplink, done)
  }

  /** See SetAsideSink. What can be read of a single reading's boot and seq counts as received, as with any rejected reading. */
  setAside(uplink: Uplink, reason: RejectReason, detail: string, done: Done): void {
    if (this.#batch.isFull) {
      done(new LimitError('ingest.pendingBytesMax is reached: the log does not keep up'))
      return
    }
    const decoded = decodeJson(uplink.payload)
    this.#reject(uplink, { reason, detail }, uplink.payload, decoded.status === 'decoded' ? decoded.body : undefined)
    this.#batch.onDurable(done)
  }

  #acceptTelemetry(uplink: Uplink, done: Done, onReading?: OnReading): void {
    const device = this.#deviceOf(uplink)
    if (device === undefined) {
      done(new EnvironmentError('DEVICE_UNKNOWN', `device ${uplink.device} is not in the registry`, { retryable: true }))
      return
    }
    const decoded = decodeJson(uplink.payload)
    const barrier = barrierOf(this.#options.registry.stateOf(uplink.tenant, uplink.device))
    if (barrier !== undefined) this.#holdBack(uplink, barrier, decoded, done, onReading)
    else if (decoded.status === 'rejected') {
      this.#reject(uplink, decoded.rejection, uplink.payload, undefined)
      onReading?.({ status: 'rejected', of: 'payload', ...decoded.rejection })
      this.#batch.onDurable(done)
    } else if (Array.isArray(decoded.body)) this.#acceptArray(uplink, device, decoded.body, done, onReading)
    else this.#acceptOne(uplink, device, decoded.body, done, onReading)
  }

  #acceptOne(uplink: Uplink, device: KnownDevice, body: unknown, done: Done, onReading?: OnReading): void {
    const check = checkReading(body, device.type, device.metrics, this.#options.config, uplink.receivedAt)
    if (check.status === 'new-metrics') {
      this.#catalogue.declare(uplink.tenant, device.type.id, check.metrics).then(() => this.#acceptOne(uplink, device, body, done, onReading), done)
      return
    }
    if (check.status === 'rejected') this.#reject(uplink, check.rejection, uplink.payload, body)
    else this.#append(encodeReading(device.envelope, uplink, body as RawReading, check.onlyKnownKeys ? uplink.payload : null))
    if (onReading !== undefined) {
      const of = check.status === 'rejected' && check.rejection.reason === 'not-an-object' ? 'payload' : 'reading'
      onReading(check.status === 'rejected' ? { status: 'rejected', of, ...check.rejection } : ACCEPTED)
    }
    this.#batch.onDurable(done)
  }

  /** Each element is a reading of its own; the publish is done when all of them are durable, in their order. */
  #acceptArray(uplink: Uplink, device: KnownDevice, body: unknown[], done: Done, onReading?: OnReading): void {
    const { arrayReadingsMax } = this.#options.config
    if (body.length > arrayReadingsMax || body.length === 0) {
      const rejection: Rejection = { reason: 'array-too-long', detail: `${body.length} readings; an array holds 1 to ${arrayReadingsMax}` }
      this.#reject(uplink, rejection, uplink.payload, undefined)
      onReading?.({ status: 'rejected', of: 'payload', ...rejection })
      this.#batch.onDurable(done)
      return
    }
    const messages: { reading?: LogMessage; rejected?: Rejection; part: unknown }[] = []
    for (const part of body) {
      const check = checkReading(part, device.type, device.metrics, this.#options.config, uplink.receivedAt)
      if (check.status === 'new-metrics') {
        this.#catalogue.declare(uplink.tenant, device.type.id, check.metrics).then(() => this.#acceptArray(uplink, device, body, done, onReading), done)
        return
      }
      if (check.status === 'rejected') messages.push({ rejected: check.rejection, part })
      else messages.push({ reading: encodeReading(device.envelope, uplink, part as RawReading, null), part })
    }
    for (const message of messages) {
      if (message.reading !== undefined) this.#append(message.reading)
      else if (message.rejected !== undefined) this.#reject(uplink, message.rejected, jsonBytes(message.part), message.part)
      onReading?.(message.rejected === undefined ? ACCEPTED : { status: 'rejected', of: 'reading', ...message.rejected })
    }
    this.#batch.onDurable(done)
  }

  /**
   * The readings of a device that may not bring any in now, each set aside whole, so that it can be replayed. They are not checked:
   * a device that is not trusted must not make metrics either.
   */
  #holdBack(uplink: Uplink, barrier: Rejection, decoded: ReturnType<typeof decodeJson>, done: Done, onReading?: OnReading): void {
    const body = decoded.status === 'decoded' ? decoded.body : undefined
    const isArray = Array.isArray(body) && body.length > 0 && body.length <= this.#options.config.arrayReadingsMax
    for (const part of isArray ? (body as unknown[]) : [body]) {
      this.#reject(uplink, barrier, isArray ? jsonBytes(part) : uplink.payload, part, Infinity)
      onReading?.({ status: 'rejected', of: 'reading', ...barrier })
    }
    this.#batch.onDurable(done)
  }

  #append(message: LogMessage): void {
    this.#uncounted++
    this.#batch.add(TOPICS.readings, message)
  }

  #reject(
    uplink: Uplink,
    rejection: Rejection,
    bytes: Uint8Array,
    decoded: unknown,
    bytesMax = this.#options.config.rejectedPayloadBytesMax,
  ): void {
    this.#rejected.inc({ reason: rejection.reason })
    this.#options.log.debug(
      { device: uplink.device, tenant: uplink.tenant, correlationId: uplink.correlationId, reason: rejection.reason },
      'reading rejected',
    )
    this.#batch.add(TOPICS.rejected, encodeRejected(uplink, rejection, bytes, decoded, bytesMax))
  }

  /** Events, status, command results, reported twins and requests for a new certificate: kept as they came, JSON or not. */
  #acceptMessage(uplink: Uplink, done: Done): void {
    // On its way out a device has nothing to say but that it carried out its last commands.
    if (this.#options.registry.stateOf(uplink.tenant, uplink.device) === 'decommissioning' && !RESULT.test(uplink.path)) {
      this.#reject(uplink, LEAVING, uplink.payload, undefined)
      this.#batch.onDurable(done)
      return
    }
    const message = deviceMessage(uplink)
    if (message === null) {
      done(new InternalError(`no station takes devices/…/${uplink.path}: the topic policy let it through`))
      return
    }
    const topic = message.kind === 'command-result' ? TOPICS.commands : TOPICS.deviceEvents
    const value = jsonBytes(message)
    this.#batch.add(topic, { key: deviceKey(uplink.tenant, uplink.device), schema: DEVICE_MESSAGE, value })
    this.#batch.onDurable(done)
  }

  /** Type and envelope of a device, rebuilt when the registry has a newer type. */
  #deviceOf(uplink: Uplink): KnownDevice | undefined {
    const type = this.#options.registry.typeOf(uplink.tenant, uplink.device)
    if (type === undefined) return undefined
    let devices = this.#devices.get(uplink.tenant)
    if (devices === undefined) this.#devices.set(uplink.tenant, (devices = new Map<string, KnownDevice>()))
    const cached = devices.get(uplink.device)
    if (cached?.type === type) return cached
    const metrics = this.#catalogue.of(uplink.tenant, type.id)
    const fresh = { type, envelope: deviceEnvelope(uplink.tenant, uplink.device, type.id), metrics }
    devices.set(uplink.device, fresh)
    return fresh
  }
}

const QUARANTINED: Rejection = { reason: 'quarantined', detail: 'the device is quarantined; its readings can be replayed when it is not any more' }
const LEAVING: Rejection = { reason: 'device-refused', detail: 'the device is refused: decommissioning' }

/** Why a device in this state may bring in no readings; undefined when it may. */
function barrierOf(state: DeviceState | undefined): Rejection | undefined {
  if (state === 'quarantined') return QUARANTINED
  return state === 'decommissioning' ? LEAVING : undefined
}

const RESULT = /^commands\/([^/]+)\/result$/

function deviceMessage(uplink: Uplink): DeviceMessage | null {
  const base = { tenant: uplink.tenant, device: uplink.device, receivedAt: uplink.receivedAt, correlationId: uplink.correlationId, ...bodyOf(uplink.payload) }
  if (uplink.path === 'events') return { ...base, kind: 'event' }
  if (uplink.path === 'status') return { ...base, kind: 'status' }
  if (uplink.path === 'twin/reported') return { ...base, kind: 'twin-reported' }
  if (uplink.path === 'certificate/renew') return { ...base, kind: 'certificate-renew', ...(uplink.serial === undefined ? {} : { serial: uplink.serial }) }
  const result = RESULT.exec(uplink.path)
  return result === null ? null : { ...base, kind: 'command-result', commandId: result[1] as string }
}

function bodyOf(payload: Uint8Array): { body: unknown } | { bodyBase64: string } {
  const decoded = decodeJson(payload)
  return decoded.status === 'decoded' ? { body: decoded.body } : { bodyBase64: Buffer.from(payload).toString('base64') }
}
