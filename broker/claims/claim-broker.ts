import { Aedes, type AedesPublishPacket, type AuthenticateError, type Client, type PublishPacket, type Subscription } from 'aedes'
import type { ClaimCredential, DoorAnswer, GrantedCertificate, RemoteDoors, Trust } from '../../contracts/credential.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { BrokerConfig } from '../config.ts'
import { connectRefusal, NOT_AUTHORISED } from '../connect-check.ts'
import type { DeviceSession } from '../device-session.ts'
import { DirectEmitter } from '../direct-emitter.ts'
import { AEDES_OPTIONS_BEHIND_PACKET_CHECK, type StrictConnection } from '../packets/strict-connection.ts'
import type { Refusals } from '../refusals.ts'
import { mayUseTopic } from '../topic-policy.ts'
import { readClaimRequest } from './claim-request.ts'

/** Filters of one connection: it needs one, and one more while it changes it. */
const FILTERS_MAX = 8
/** After this a device may ask again, in ms, when too many ask at once or nobody could decide. */
const RETRY_AFTER_MS = 2_000
/** The packet check ends those that do not connect in time; Aedes' own timer only has to come later. */
const CONNECT_TIMEOUT_MARGIN_MS = 5_000

export interface ClaimBrokerOptions {
  config: BrokerConfig
  trust: Trust
  doors: RemoteDoors
  refusals: Refusals
  log: Logger
}

/** What a connection may call its own. */
interface ClaimConnection {
  session: DeviceSession
  credential: ClaimCredential
  /** Before all of its topics and its client id: nobody else's begin so. */
  prefix: string
  filters: number
}

/**
 * The broker of claim certificates: an Aedes of its own, without devices, without stores and without anything to forward, so that there is
 * nothing a claim could reach. Each connection has a topic space to itself; many devices of a batch share one certificate and never see each other.
 *
 * | Topic | |
 * |---|---|
 * | `provisioning/{id}/request` | up: `{"device","csr"}`; the id is the device's own choice |
 * | `provisioning/{id}/response` | down: `{"status":"issued","device","certificate","ca"}`, `{"status":"refused","reason","detail"}` or `{"status":"pending","retryAfterMs","detail"}` |
 */
export class ClaimBroker {
  readonly #options: ClaimBrokerOptions
  readonly #connections = new WeakMap<Client, ClaimConnection>()
  readonly #aedes: Aedes
  #sequence = 0
  #underway = 0

  constructor(options: ClaimBrokerOptions) {
    this.#options = options
    const { packets, drainTimeoutMs } = options.config
    this.#aedes = new Aedes({
      ...AEDES_OPTIONS_BEHIND_PACKET_CHECK,
      mq: new DirectEmitter(),
      connectTimeout: packets.connectTimeoutMs + CONNECT_TIMEOUT_MARGIN_MS,
      drainTimeout: drainTimeoutMs,
      preConnect: (client, packet, done) => {
        // Nothing of a claim is kept: a session that is asked for begins anew each time.
        packet.clean = true
        done(null, this.#connections.has(client) && packet.will === undefined)
      },
      authenticate: (client, _username, _password, done) => this.#authenticate(client, done),
      authorizePublish: (client, packet, done) => this.#authorisePublish(client, packet, done),
      authorizeSubscribe: (client, subscription, done) => this.#authoriseSubscribe(client, subscription, done),
      authorizeForward: (client, packet) => this.#authoriseForward(client, packet),
    })
  }

  async start(): Promise<void> {
    const { log } = this.#options
    // Aedes reports failed background work here; unheard it would end the process.
    ;(this.#aedes as NodeJS.EventEmitter).on('error', (error: Error) => log.error({ error: describeError(error) }, 'claim broker error'))
    await this.#aedes.listen()
  }

  /** Ends every connection. */
  async stop(): Promise<void> {
    if (!this.#aedes.closed) await new Promise<void>((resolve) => this.#aedes.close(() => resolve()))
  }

  /** What stands before the topics and the client id of the next connection of a claim, in the broker. */
  nextPrefix(session: DeviceSession): string {
    return `${session.topicPrefix}${session.identity.device}/${this.#sequence++}/`
  }

  handle(session: DeviceSession, credential: ClaimCredential, connection: StrictConnection, prefix: string): void {
    this.#connections.set(this.#aedes.handle(connection), { session, credential, prefix, filters: 0 })
  }

  #authenticate(client: Client, done: (error: AuthenticateError | null, success: boolean | null) => void): void {
    const connection = this.#connections.get(client)
    const lapse = connection === undefined ? 'not known' : this.#options.trust.lapse(connection.credential)
    if (connection !== undefined && lapse === undefined && connection.session.expelled === undefined) return done(null, true)
    if (connection !== undefined)
      this.#options.refusals.note('credential-lapsed', { ...connection.session.context, ...(lapse === undefined ? {} : { detail: lapse }) })
    done(connectRefusal(NOT_AUTHORISED), false)
  }

  #authorisePublish(client: Client | null, packet: PublishPacket, done: (error?: Error | null) => void): void {
    const connection = client === null ? undefined : this.#connections.get(client)
    if (connection === undefined) return done(new InvalidInputError('nobody known publishes'))
    const { session, prefix } = connection
    if (session.expelled !== undefined || !mayUseTopic(session.principal, 'publish', packet.topic)) {
      this.#options.refusals.note('foreign-topic', session.context)
      return done(new InvalidInputError('publish to a topic that is not for claims'))
    }
    const requestId = packet.topic.split('/')[1] ?? ''
    const payload = Buffer.from(packet.payload)
    // Where nobody listens, and kept nowhere.
    packet.topic = prefix + packet.topic
    packet.retain = false
    void this.#answer(connection, requestId, payload)
    done()
  }

  #authoriseSubscribe(
    client: Client,
    subscription: Subscription,
    done: (error: Error | null, subscription?: Subscription | null) => void,
  ): void {
    const connection = this.#connections.get(client)
    // Refused filters are answered 0x80 [MQTT-3.9.3-2], the connection stays.
    if (connection === undefined || !subscription.topic.startsWith(connection.prefix)) return done(null, null)
    const { session, prefix } = connection
    if (!mayUseTopic(session.principal, 'subscribe', subscription.topic.slice(prefix.length))) {
      this.#options.refusals.note('foreign-filter', session.context)
      return done(null, null)
    }
    if (++connection.filters > FILTERS_MAX) {
      this.#options.refusals.note('subscriptions-max', session.context)
      return done(null, null)
    }
    done(null, subscription)
  }

  #authoriseForward(client: Client, packet: AedesPublishPacket): AedesPublishPacket | null {
    const connection = this.#connections.get(client)
    return connection !== undefined && packet.topic.startsWith(connection.prefix) ? packet : null
  }

  async #answer(connection: ClaimConnection, requestId: string, payload: Buffer): Promise<void> {
    const answer = await this.#decide(connection, requestId, payload)
    if (connection.session.isClosed || this.#aedes.closed) return
    const topic = `${connection.prefix}provisioning/${requestId}/response`
    this.#aedes.publish({ cmd: 'publish', dup: false, retain: false, qos: 1, topic, payload: jsonBytes(answer) }, (error) => {
      if (error) this.#options.log.warn({ ...connection.session.context, error: describeError(error) }, 'an answer to a claim was not sent')
    })
  }

  async #decide(connection: ClaimConnection, requestId: string, payload: Buffer): Promise<object> {
    const { doors, refusals, config, log } = this.#options
    const { session, credential } = connection
    const request = readClaimRequest(payload)
    if (request.status === 'refused') {
      refusals.note('claim-request', { ...session.context, detail: request.detail })
      return { status: 'refused', reason: 'malformed', detail: request.detail }
    }
    if (this.#underway >= config.claimRequestsMax)
      return { status: 'pending', retryAfterMs: RETRY_AFTER_MS, detail: 'too many devices ask at once' }
    this.#underway++
    try {
      const { device, csrBase64 } = request
      return answerOf(await doors.claim({ credential, requestId, device, csrBase64, origin: session.remoteAddress }))
    } catch (error) {
      log.error({ ...session.context, error: describeError(error) }, 'a request of a claim could not be decided')
      return { status: 'pending', retryAfterMs: RETRY_AFTER_MS, detail: 'nobody could decide now; ask again' }
    } finally {
      this.#underway--
    }
  }
}

function answerOf(answer: DoorAnswer<GrantedCertificate>): object {
  if (answer.status !== 'granted') return answer
  return { status: 'issued', device: answer.device, certificate: answer.certificatePem, ca: answer.caPem }
}
