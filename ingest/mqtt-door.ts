import type { Counter } from 'prom-client'
import type { DeviceRegistrar } from '../contracts/registrar.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import type { SetAsideSink, Uplink, UplinkSink } from '../contracts/uplink.ts'
import { describeError, FleetpulseError } from '../kernel/errors.ts'
import { newId } from '../kernel/ids.ts'
import type { Logger } from '../kernel/log.ts'
import type { Metrics } from '../kernel/metrics.ts'
import type { Random } from '../kernel/random.ts'
import { backoffDelayMs, withTimeout } from '../kernel/retry.ts'
import type { Service } from '../kernel/service.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import { DoorDevices, type DoorDevice, type Standing } from './door-devices.ts'
import type { MqttDoorConfig } from './mqtt-door-config.ts'
import { MqttLink } from './mqtt-link.ts'
import { TopicPattern } from './topic-pattern.ts'

/** In place of a device where the topic names none: no device can have this id. */
const NO_DEVICE = '-'

export interface MqttDoorOptions {
  config: MqttDoorConfig
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  /** Ingest. */
  uplinks: UplinkSink & SetAsideSink
  registryView: RegistryView
  registrar: Pick<DeviceRegistrar, 'ensureRegistered'>
  /** Own to this process and the same after a restart; part of the MQTT client id unless that is configured. */
  processId: string
}

type Done = (error?: Error) => void

/**
 * The door to devices of an MQTT broker that people already run: a shared subscription, each message acknowledged after it is durable.
 * What cannot be made durable is not acknowledged: the connection is cut and made anew with back-off, and the broker, which has kept it, sends it
 * again, in order. What comes twice is recognised by its identity (boot, seq, ts), like everything a device repeats.
 */
export class MqttDoor implements Service {
  readonly name = 'mqtt-door'
  readonly #options: MqttDoorOptions
  readonly #devices: DoorDevices
  readonly #stopping = new AbortController()
  #pattern: TopicPattern | undefined
  #link: MqttLink | undefined
  #running: Promise<void> | undefined
  /** Why there is no connection, and why what came over it could not be kept. */
  #linkTrouble: string | null = null
  #logTrouble: string | null = null
  /** Devices being registered, each with what its later messages wait for. */
  readonly #joining = new Map<string, Promise<Standing>>()
  readonly #messages: Counter<'outcome'>
  readonly #connections: Counter<'outcome'>

  constructor(options: MqttDoorOptions) {
    this.#options = options
    this.#devices = new DoorDevices(options)
    const { metrics } = options
    this.#messages = metrics.counter('ingest_mqtt_door_messages_total', 'Messages from the other MQTT broker by what came of them', [
      'outcome',
    ])
    this.#connections = metrics.counter('ingest_mqtt_door_connections_total', 'Connections to the other MQTT broker', ['outcome'])
    metrics.gaugeOf(
      'ingest_mqtt_door_in_flight_messages',
      'Messages of the other MQTT broker not acknowledged yet',
      () => this.#link?.inFlight ?? 0,
    )
    metrics.gaugeOf('ingest_mqtt_door_connected', '1 while the other MQTT broker sends us messages', () =>
      this.#link === undefined ? 0 : 1,
    )
  }

  /** Why no messages come in, or null when they may. Names the broker, never a password. */
  get failing(): string | null {
    return this.#logTrouble ?? this.#linkTrouble
  }

  /** Resolves after the first try to connect, whatever came of it: a broker that is away must not keep our own from starting. */
  async start(): Promise<void> {
    const { config } = this.#options
    if (this.#running !== undefined || config.url === '') return
    const parsed = TopicPattern.parse(config.topicPattern)
    if (parsed.status === 'invalid') throw new TypeError(`mqttDoor.topicPattern: ${parsed.problem}`)
    this.#pattern = parsed.pattern
    await new Promise<void>((tried) => {
      this.#running = this.#run(tried)
    })
  }

  /** Takes nothing more, acknowledges what is durable within `stopTimeoutMs`, and leaves; the broker keeps the rest for us. */
  async stop(): Promise<void> {
    const { clock, config, log } = this.#options
    this.#stopping.abort()
    const link = this.#link
    if (link !== undefined) {
      try {
        await withTimeout(clock, config.stopTimeoutMs, 'acknowledging what was taken', Promise.race([link.drain(), link.closed]))
        await withTimeout(clock, config.stopTimeoutMs, 'leaving the MQTT broker', link.leave())
      } catch (error) {
        log.warn({ error: describeError(error) }, 'left without acknowledging everything: it comes again')
        link.cut()
      }
    }
    await this.#running
    this.#running = undefined
  }

  async #run(tried: () => void): Promise<void> {
    const { config, clock, log, random } = this.#options
    const { signal } = this.#stopping
    const backoff = { initialMs: config.reconnectInitialMs, maxMs: config.reconnectMaxMs, factor: 2, jitter: 0.5 }
    for (let attempt = 1; !signal.aborted; attempt++) {
      const startedMs = clock.monotonicMs()
      try {
        const link = await this.#connect()
        tried()
        await link.closed
        // A connection that held begins the back-off anew; one that ends again and again does not.
        if (this.#logTrouble === null && clock.monotonicMs() - startedMs > config.reconnectMaxMs) attempt = 1
        this.#linkTrouble = `the MQTT broker at ${config.url} ended the connection${link.cause === undefined ? '' : `: ${link.cause}`}`
      } catch (error) {
        this.#connections.inc({ outcome: 'failed' })
        this.#linkTrouble = [describeError(error), error instanceof FleetpulseError ? error.remedy : undefined].filter(Boolean).join('. ')
      }
      this.#link = undefined
      tried()
      if (signal.aborted) return
      const delayMs = backoffDelayMs(backoff, attempt, random)
      log.warn({ error: this.failing, attempt, delayMs: Math.round(delayMs) }, 'the MQTT door is closed, trying again')
      await sleep(clock, delayMs, signal)
    }
  }

  async #connect(): Promise<MqttLink> {
    const { config, log, processId } = this.#options
    const clientId = config.clientId === '' ? `fleetpulse-${processId}` : config.clientId
    const filter = `$share/${config.group}/${this.#pattern?.filter ?? ''}`
    const link: MqttLink = new MqttLink({ config, clientId, filter, onMessage: (message, durable) => this.#take(link, message, durable) })
    this.#link = link
    const stop = (): void => link.cut()
    this.#stopping.signal.addEventListener('abort', stop, { once: true })
    try {
      await link.open()
    } finally {
      this.#stopping.signal.removeEventListener('abort', stop)
    }
    this.#connections.inc({ outcome: 'subscribed' })
    this.#linkTrouble = null
    log.info({ broker: config.url, clientId, filter }, 'the MQTT door is open')
    return link
  }

  #take(link: MqttLink, message: { topic: string; payload: Uint8Array; isRepeated: boolean }, durable: () => void): void {
    if (message.isRepeated) this.#messages.inc({ outcome: 'repeated' })
    const done: Done = (error) => {
      if (error === undefined) {
        this.#messages.inc({ outcome: 'durable' })
        this.#logTrouble = null
        durable()
      } else this.#giveUp(link, error)
    }
    const { clock, config, uplinks } = this.#options
    const nowMs = clock.nowMs()
    const base = { path: 'telemetry', topic: message.topic, payload: message.payload, receivedAt: nowMs, correlationId: newId(nowMs) }
    const match = this.#pattern?.match(message.topic)
    if (match?.status !== 'matched') {
      this.#messages.inc({ outcome: 'unmatched' })
      uplinks.setAside({ ...base, tenant: config.tenant, device: NO_DEVICE }, 'bad-topic', match?.detail ?? 'the door is closed', done)
      return
    }
    const device = { tenant: match.tenant ?? config.tenant, device: match.device, type: match.type }
    this.#admit({ ...base, tenant: device.tenant, device: device.device }, device, done)
  }

  /** Behind a device that is being registered its later messages wait, so that they stay in order. */
  #admit(uplink: Uplink, device: DoorDevice, done: Done): void {
    const key = `${device.tenant}/${device.device}`
    const joining = this.#joining.get(key)
    const standing = joining === undefined ? this.#devices.standingOf(device) : undefined
    if (standing !== undefined && standing.status !== 'unknown') {
      this.#settle(standing, uplink, done)
      return
    }
    const registered = joining ?? this.#register(key, device)
    registered.then(
      (outcome) => this.#settle(outcome, uplink, done),
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
    )
  }

  #register(key: string, device: DoorDevice): Promise<Standing> {
    const registering = this.#devices.register(device)
    this.#joining.set(key, registering)
    // Those who wait are called before: they were there first.
    const left = (): void => void setImmediate(() => this.#joining.delete(key))
    registering.then(left, left)
    return registering
  }

  #settle(standing: Standing, uplink: Uplink, done: Done): void {
    const { uplinks } = this.#options
    if (standing.status === 'refused') {
      this.#messages.inc({ outcome: 'refused' })
      uplinks.setAside(uplink, standing.reason, standing.detail, done)
    } else uplinks.accept(uplink, done)
  }

  /** Without this message durable no later one may be acknowledged: all of them come again, in order. */
  #giveUp(link: MqttLink, error: Error): void {
    this.#messages.inc({ outcome: 'failed' })
    this.#logTrouble = `messages of the MQTT broker cannot be made durable: ${describeError(error)}`
    link.cut()
  }
}
