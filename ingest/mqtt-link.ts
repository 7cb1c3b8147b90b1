import { readFileSync } from 'node:fs'
import type { IClientOptions, IPublishPacket, MqttClient } from 'mqtt'
import { describeError, EnvironmentError } from '../kernel/errors.ts'
import type { MqttDoorConfig } from './mqtt-door-config.ts'
import { InFlightWindow } from './in-flight-window.ts'

/** Bits and length of a PUBACK that says success: packet id alone [MQTT5-3.4.2.1]. */
const PUBACK = 0x40
const PUBACK_LENGTH = 2
/** Reason codes of SUBACK from here on are refusals [MQTT5-3.9.3]. */
const REFUSED = 128

export interface LinkOptions {
  config: MqttDoorConfig
  clientId: string
  filter: string
  /** A message; `durable` is called once it may be acknowledged. Until then the broker keeps it. */
  onMessage: (message: { topic: string; payload: Uint8Array; isRepeated: boolean }, durable: () => void) => void
}

/**
 * One connection to the broker, from CONNECT to its end; the session behind it is the broker's and outlives it.
 *
 * mqtt.js hands over one message at a time, and acknowledges it before it takes the next: at one disk sync per message that would be slow. Its
 * `handleMessage` may refuse the acknowledgement with an error and goes on reading; the PUBACK is then written here, when the message is durable.
 */
export class MqttLink {
  readonly #options: LinkOptions
  readonly #window: InFlightWindow
  #client: MqttClient | undefined
  #isClosed = false
  #isDraining = false
  #cause: string | undefined
  readonly #closed: Promise<void>
  #close: () => void = () => undefined

  constructor(options: LinkOptions) {
    this.#options = options
    this.#window = new InFlightWindow(options.config.receiveMaximum)
    this.#closed = new Promise((resolve) => (this.#close = resolve))
  }

  get inFlight(): number {
    return this.#window.size
  }
  /** Resolves when the connection has ended. */
  get closed(): Promise<void> {
    return this.#closed
  }
  /** Why it ended, when the broker or the network said so. */
  get cause(): string | undefined {
    return this.#cause
  }

  /** Resolves when the broker has taken the subscription. Throws EnvironmentError MQTT_BROKER_UNREACHABLE or MQTT_BROKER_REFUSED. */
  async open(): Promise<void> {
    const { config, filter } = this.#options
    // Loaded only where there is such a door.
    const { connect } = await import('mqtt')
    const client = connect(config.url, this.#clientOptions())
    this.#client = client
    client.handleMessage = (packet, callback) => this.#take(packet, callback)
    client.on('error', (error) => (this.#cause = describeError(error)))
    client.on('close', () => this.#end())
    client.on('disconnect', (packet) => (this.#cause = `it ended the session with reason code ${String(packet.reasonCode)}`))
    try {
      await Promise.race([new Promise<void>((resolve) => client.once('connect', () => resolve())), this.#closed])
      if (this.#isClosed) throw this.#refusal(this.#cause ?? 'it does not answer')
      // QoS 1 also for what was published with QoS 2: a repetition is recognised by its identity, and no second handshake is needed.
      const granted = await Promise.race([client.subscribeAsync(filter, { qos: 1 }), this.#closed])
      if (granted === undefined) throw this.#refusal(this.#cause ?? 'it closed the connection')
      const refused = granted.find(({ qos }) => Number(qos) >= REFUSED)
      if (refused !== undefined) throw this.#refusal(`it refuses the subscription ${filter} (reason code ${refused.qos})`)
    } catch (error) {
      this.cut()
      throw error instanceof EnvironmentError ? error : this.#refusal(describeError(error), error)
    }
  }

  /** Ends the connection at once: what is not acknowledged comes again with the next one. */
  cut(): void {
    this.#client?.end(true)
    this.#end()
  }

  /** Takes nothing more; resolves when what was taken is acknowledged. */
  async drain(): Promise<void> {
    this.#isDraining = true
    await this.#window.emptied()
  }

  /** Says goodbye; the session stays [MQTT5-3.14.2.2.2]. */
  async leave(): Promise<void> {
    if (this.#client !== undefined && !this.#isClosed) await this.#client.endAsync(false)
    this.#end()
  }

  #take(packet: IPublishPacket, callback: (error?: Error) => void): void {
    if (this.#isDraining || this.#isClosed) return // nothing is read any more: the broker keeps it
    const { topic, qos, messageId, payload } = packet
    const client = this.#client
    const acknowledge = (): void => {
      if (qos === 0 || messageId === undefined || this.#isClosed) return
      client?.stream.write(Buffer.from([PUBACK, PUBACK_LENGTH, messageId >> 8, messageId & 0xff]))
    }
    const durable = this.#window.add(acknowledge)
    this.#options.onMessage({ topic, payload: Buffer.from(payload), isRepeated: packet.dup }, durable)
    this.#window.onRoom(() => callback(NOT_YET))
  }

  #end(): void {
    this.#isClosed = true
    this.#close()
  }

  #clientOptions(): IClientOptions {
    const { config, clientId } = this.#options
    const file = (path: string): Buffer | undefined => (path === '' ? undefined : readPem(path))
    const [ca, cert, key] = [file(config.caFile), file(config.certFile), file(config.keyFile)]
    return {
      clientId,
      protocolVersion: 5,
      clean: false,
      keepalive: Math.ceil(config.keepAliveMs / 1_000),
      connectTimeout: config.connectTimeoutMs,
      // A new client for each connection, at the pace of our own back-off.
      reconnectPeriod: 0,
      resubscribe: false,
      properties: {
        sessionExpiryInterval: Math.ceil(config.sessionExpiryMs / 1_000),
        receiveMaximum: config.receiveMaximum,
        maximumPacketSize: config.packetBytesMax,
      },
      ...(config.username === '' ? {} : { username: config.username }),
      ...(config.password === '' ? {} : { password: config.password }),
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
    }
  }

  #refusal(why: string, cause?: unknown): EnvironmentError {
    const { config } = this.#options
    const message = `the MQTT broker at ${config.url}: ${why}`
    const options = { retryable: true, ...(cause === undefined ? {} : { cause }) }
    if (REFUSAL.test(why)) return new EnvironmentError('MQTT_BROKER_REFUSED', message, { ...options, remedy: REFUSED_REMEDY })
    return new EnvironmentError('MQTT_BROKER_UNREACHABLE', message, {
      ...options,
      remedy: 'Check mqttDoor.url and that the broker runs; it is tried again.',
    })
  }
}

/** What mqtt.js and TLS say when the broker does not want us as we are; anything else may pass by itself. */
const REFUSAL = /not authori|bad user|refuses|certificate|protocol version/i
const REFUSED_REMEDY = 'Check mqttDoor.username, password and certificate files, the right to subscribe, and that the broker speaks MQTT 5.'

/** Tells mqtt.js not to acknowledge. */
const NOT_YET = new Error('acknowledged when durable')

function readPem(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new EnvironmentError('MQTT_BROKER_REFUSED', `a certificate file of the MQTT door cannot be read: ${describeError(error)}`, {
      retryable: true,
      cause: error,
      remedy: 'Check mqttDoor.caFile, certFile and keyFile.',
    })
  }
}
