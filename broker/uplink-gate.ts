import { randomBytes } from 'node:crypto'
import type { Histogram } from 'prom-client'
import { describeError, EnvironmentError, InvalidInputError } from '../kernel/errors.ts'
import { LATENCY_BUCKETS_S, type Metrics } from '../kernel/metrics.ts'
import type { Clock } from '../kernel/time.ts'
import type { DeviceSession, Speaker, UplinkPacket } from './device-session.ts'
import { HotCounters } from './hot-counter.ts'
import { topicPrefixOf } from './names.ts'
import type { DocumentsPersistence } from './persistence/documents-persistence.ts'
import type { Refusals } from './refusals.ts'
import { mayUseTopic, pathBelowDevice } from './topic-policy.ts'
import { lane, type UplinkLane, type UplinkRoad } from './uplink-road.ts'

type Done = (error?: Error | null) => void

/** One publish in so many has its way to the acknowledgement timed: timing all would cost more than it tells. */
const LATENCY_SAMPLE = 64

/**
 * The way up: checks a publish against the policy and the device's pace, hands it to ingest, and lets Aedes acknowledge only when it is
 * durable. Called for every message; it keeps what it found out about a device's last topic.
 */
export class UplinkGate {
  readonly #road: UplinkRoad
  readonly #clock: Clock
  readonly #refusals: Refusals
  readonly #persistence: DocumentsPersistence
  readonly #ratePerS: number
  readonly #burstMax: number
  readonly #counters: HotCounters<'publishes' | 'bytes' | 'acks' | 'duplicates' | 'throttled'>
  readonly #latency: Histogram
  /** QoS 2 publishes being made durable, by session and packet id, with those that came again meanwhile. */
  readonly #appending = new Map<string, Done[]>()
  readonly #runPrefix: string
  #sequence = 0
  #storing = 0
  #drained: (() => void) | undefined

  constructor(options: {
    road: UplinkRoad
    clock: Clock
    metrics: Metrics
    refusals: Refusals
    persistence: DocumentsPersistence
    publishRatePerS: number
    publishBurstMax: number
  }) {
    this.#road = options.road
    this.#clock = options.clock
    this.#refusals = options.refusals
    this.#persistence = options.persistence
    this.#ratePerS = options.publishRatePerS
    this.#burstMax = options.publishBurstMax
    this.#runPrefix = `${options.clock.nowMs().toString(36)}${randomBytes(2).toString('hex')}-`
    const metrics = options.metrics
    this.#counters = new HotCounters(options.clock, {
      publishes: metrics.counter('broker_publishes_total', 'Publishes of devices that passed the topic policy'),
      bytes: metrics.counter('broker_publish_bytes_total', 'Payload bytes of publishes that passed the topic policy'),
      acks: metrics.counter(
        'broker_durable_publishes_total',
        'Publishes of devices made durable, and so acknowledged where their QoS asks for it',
      ),
      duplicates: metrics.counter('broker_duplicate_publishes_total', 'QoS 2 publishes that came again and were not appended again'),
      throttled: metrics.counter('broker_throttled_publishes_total', 'Publishes held back because their device was above its rate'),
    })
    this.#latency = metrics.histogram(
      'broker_publish_durable_seconds',
      `From the check of a publish to its being durable, one in ${LATENCY_SAMPLE}`,
      LATENCY_BUCKETS_S,
    )
  }

  /** A correlation id: short, and unique over restarts by the time and chance in its first part. */
  nextCorrelationId(): string {
    return this.#runPrefix + (this.#sequence++).toString(36)
  }

  /** `done` is called without an error when the publish may be acknowledged; with one the connection is to be closed. */
  publish(session: DeviceSession, packet: UplinkPacket, done: Done): void {
    if (session.waiting.length > 0 || !this.#takeToken(session)) {
      this.#hold(session, packet, done)
      return
    }
    this.#admit(session, packet, done)
  }

  /** A last will [MQTT-3.1.2-8]; its topic carries the tenant's prefix already. Refused for a device that was expelled. */
  will(speaker: Speaker, packet: UplinkPacket, done: Done): void {
    if (speaker.expelled !== undefined) return done(new InvalidInputError('an expelled device has no last word'))
    const prefix = topicPrefixOf(speaker.identity.tenant)
    const topic = packet.topic.slice(prefix.length)
    if (!packet.topic.startsWith(prefix) || !mayUseTopic(speaker.principal, 'publish', topic)) {
      this.#refusals.note('foreign-will', speaker.context)
      return done(new InvalidInputError('the will is not for a topic of this device'))
    }
    // Its connection has ended: it waits behind nothing, and for as long as it takes.
    this.#append(lane(), speaker, packet, pathBelowDevice(speaker.identity.device, topic), done)
  }

  /** What a device that has left was waiting for is not done any more. */
  leave(session: DeviceSession): void {
    this.#road.leave(session)
  }

  /** Is anything of these connections being made durable, or any QoS 2 publish of their session? */
  isBusy(sessionId: string, sessions: readonly DeviceSession[]): boolean {
    if (sessions.some(({ underway }) => underway > 0)) return true
    for (const key of this.#appending.keys()) if (key.startsWith(`${sessionId}/`)) return true
    return false
  }

  /** Resolves when no publish is being made durable. */
  async drained(): Promise<void> {
    await this.#road.drained()
    if (this.#storing === 0) return
    await new Promise<void>((resolve) => {
      this.#drained = resolve
    })
  }

  flush(): void {
    this.#counters.flush()
  }

  #admit(session: DeviceSession, packet: UplinkPacket, done: Done): void {
    if (packet.topic !== session.lastTopic && !this.#check(session, packet.topic)) {
      done(new InvalidInputError('publish to a topic that is not this device’s own'))
      return
    }
    packet.topic = session.lastRoute
    if (packet.qos === 2) this.#appendOnce(session, packet, done)
    else this.#append(session, session, packet, session.lastPath, done)
  }

  #check(session: DeviceSession, topic: string): boolean {
    if (!mayUseTopic(session.principal, 'publish', topic)) {
      this.#refusals.note('foreign-topic', session.context)
      return false
    }
    session.lastTopic = topic
    session.lastPath = pathBelowDevice(session.identity.device, topic)
    session.lastRoute = session.topicPrefix + topic
    return true
  }

  #append(of: UplinkLane, speaker: Speaker, packet: UplinkPacket, path: string, done: Done): void {
    const { tenant, device, serial } = speaker.identity
    const payload = packet.payload as Buffer
    const sequence = this.#sequence++
    const startedMs = sequence % LATENCY_SAMPLE === 0 ? this.#clock.monotonicMs() : -1
    const receivedAt = this.#clock.nowMs()
    const correlationId = this.#runPrefix + sequence.toString(36)
    this.#counters.add('publishes', 1)
    this.#counters.add('bytes', payload.length)
    this.#road.send(
      of,
      { tenant, device, ...(serial === undefined ? {} : { serial }), path, payload, receivedAt, correlationId },
      (error) => {
        if (error === undefined && packet.retain) this.#retainFirst(speaker, packet, startedMs, done)
        else this.#settle(speaker, startedMs, error, done)
      },
    )
  }

  /** What is acknowledged survives: Aedes stores a retained message only after the PUBACK, so it is stored here before. */
  #retainFirst(speaker: Speaker, packet: UplinkPacket, startedMs: number, done: Done): void {
    this.#storing++
    const stored = (error?: Error): void => {
      this.#storing--
      this.#settle(speaker, startedMs, error, done)
      if (this.#storing > 0 || this.#drained === undefined) return
      this.#drained()
      this.#drained = undefined
    }
    this.#persistence.storeRetained({ ...packet, cmd: 'publish' }).then(
      () => stored(),
      (error: unknown) => stored(error instanceof Error ? error : new Error(String(error))),
    )
  }

  #settle(speaker: Speaker, startedMs: number, error: Error | undefined, done: Done): void {
    if (startedMs >= 0) this.#latency.observe((this.#clock.monotonicMs() - startedMs) / 1_000)
    if (error === undefined) {
      this.#counters.add('acks', 1)
      done()
      return
    }
    this.#refusals.note('uplink-failed', { ...speaker.context, detail: describeError(error) })
    done(new EnvironmentError('UPLINK_FAILED', 'a publish could not be made durable', { cause: error, retryable: true }))
  }

  /**
   * QoS 2: Aedes asks here before it looks whether it has the packet id already, so a publish that came again (same connection or a later
   * one of the session) is recognised here, and not appended twice [MQTT-4.3.3-2].
   */
  #appendOnce(session: DeviceSession, packet: UplinkPacket, done: Done): void {
    const messageId = packet.messageId ?? 0
    if (this.#persistence.incoming.has(session.sessionId, messageId)) {
      this.#counters.add('duplicates', 1)
      done()
      return
    }
    const key = `${session.sessionId}/${messageId}`
    const again = this.#appending.get(key)
    if (again !== undefined) {
      this.#counters.add('duplicates', 1)
      again.push(done)
      return
    }
    this.#appending.set(key, [])
    this.#append(session, session, packet, session.lastPath, (error) => {
      const waiting = this.#appending.get(key) ?? []
      this.#appending.delete(key)
      done(error)
      if (waiting.length > 0) this.#releaseDuplicates(session, packet, waiting, error)
    })
  }

  /** Those that came again are told once the packet id is on record, so that Aedes sees them as the duplicates they are. */
  #releaseDuplicates(session: DeviceSession, packet: UplinkPacket, waiting: readonly Done[], error: Error | null | undefined): void {
    const release = (failure?: Error | null): void => {
      for (const done of waiting) done(failure)
    }
    if (error) return release(error)
    this.#persistence.incoming.store(session.sessionId, { ...packet, cmd: 'publish' }).then(
      () => release(),
      (failure: unknown) => release(failure instanceof Error ? failure : new Error(String(failure))),
    )
  }

  #takeToken(session: DeviceSession): boolean {
    if (session.tokens < 1) {
      const nowMs = this.#clock.monotonicMs()
      session.tokens = Math.min(this.#burstMax, session.tokens + ((nowMs - session.tokensAtMs) / 1_000) * this.#ratePerS)
      session.tokensAtMs = nowMs
      if (session.tokens < 1) return false
    }
    session.tokens--
    return true
  }

  /** Above its rate a device waits: Aedes reads no more of a connection while its publishes are pending, so nothing piles up. */
  #hold(session: DeviceSession, packet: UplinkPacket, done: Done): void {
    session.waiting.push({ packet, done })
    this.#counters.add('throttled', 1)
    if (session.waiting.length === 1) this.#releaseLater(session)
  }

  #releaseLater(session: DeviceSession): void {
    const delayMs = Math.max(1, ((1 - session.tokens) / this.#ratePerS) * 1_000)
    this.#clock.after(delayMs, () => {
      while (session.waiting.length > 0 && !session.isClosed && this.#takeToken(session)) {
        const next = session.waiting.shift()
        if (next !== undefined) this.#admit(session, next.packet, next.done)
      }
      if (session.isClosed) session.waiting = []
      else if (session.waiting.length > 0) this.#releaseLater(session)
    })
  }
}
