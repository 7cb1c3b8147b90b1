import { checkAcknowledgement, checkEmpty } from './acknowledgement.ts'
import type { Backlog } from './backlog.ts'
import { checkConnect, usedFlags } from './connect.ts'
import { ANSWER_PUBREL, IGNORE, WRONG_ACKNOWLEDGEMENT } from './deliveries.ts'
import { checkFirstByte } from './first-byte.ts'
import { bodyStart, LENGTH_INCOMPLETE, LENGTH_MALFORMED, packetLength, readUint16, writeUint16 } from './framing.ts'
import { CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBLISH, PUBREC, PUBREL, SUBSCRIBE, UNSUBSCRIBE } from './packet-types.ts'
import type { PacketState } from './packet-state.ts'
import { PartialPacket } from './partial-packet.ts'
import { NO_PREFIXES, prefixConnect, prefixFilters, type NamePrefixes } from './prefixes.ts'
import { checkPublish, isPlainPublish, publishOf, type PlainPublish } from './publish.ts'
import type { RepeatedFilters } from './repeated-filters.ts'
import { checkSubscribe, checkUnsubscribe } from './subscribe.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

/** What the intake found in the device's bytes. */
export interface IntakeListener {
  /** Good packets for the broker; nothing comes after a CONNECT until `proceed`. */
  onPackets(bytes: Buffer): void
  /** A publish with nothing unread before it; false when the broker shall have it, in its place among the good packets. */
  onPublish(publish: PlainPublish): boolean
  /** Packets that answer the device's, by themselves. */
  onAnswer(bytes: Buffer): void
  /** A good CONNECT was passed on; `state.connect` holds it. */
  onConnect(): void
  /** A good DISCONNECT, not passed on yet; what comes after it is not looked at [MQTT-3.14.4-2]. */
  onDisconnect(packet: Buffer): void
  /** A bad packet, not passed on; what comes after it is not looked at. */
  onViolation(violation: Violation): void
}

export interface IntakeOptions {
  readonly state: PacketState
  readonly backlog: Backlog
  readonly repeatedFilters: RepeatedFilters
  readonly listener: IntakeListener
  /** Monotonic or wall ms; only makes ids unique. */
  readonly nowMs: () => number
}

/** What becomes of a good packet: it stays in the run of bytes that is passed on, or it does not. */
const KEEP = true
const DROP = false

/**
 * Cuts the device's byte stream into packets, checks each and hands runs of good ones on, as parts of the chunk they came in.
 * The outcome does not depend on where chunks end.
 */
export class Intake {
  readonly #options: IntakeOptions
  readonly #partial = new PartialPacket()
  #prefixes = NO_PREFIXES
  #topicPrefix: Buffer | undefined
  /** What came after a CONNECT that is not answered yet; undefined when none is. */
  #waiting: Buffer | undefined
  #done = false
  #pings = 0
  #packets = 0

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  /** Good packets so far. */
  get packets(): number {
    return this.#packets
  }

  /** Bytes that came and were not passed on nor answered yet. */
  get pendingBytes(): number {
    return this.#partial.size + (this.#waiting?.length ?? 0)
  }

  setPrefixes(prefixes: NamePrefixes): void {
    this.#prefixes = prefixes
    this.#topicPrefix = prefixes.topicPrefix === '' ? undefined : Buffer.from(prefixes.topicPrefix)
  }

  take(chunk: Buffer): void {
    if (this.#done) return
    if (this.#waiting !== undefined) {
      this.#waiting = Buffer.concat([this.#waiting, chunk])
      return
    }
    let at = this.#partial.size > 0 ? this.#complete(chunk) : 0
    at = this.#scan(chunk, at)
    this.#answerPings()
    if (this.#done || at === chunk.length) return
    if (this.#waiting !== undefined) this.#waiting = chunk.subarray(at)
    else this.#partial.append(chunk, at, chunk.length)
  }

  /** The CONNECT was accepted: what came after it is looked at now [MQTT-3.1.4-5]. */
  proceed(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    if (waiting !== undefined && waiting.length > 0) this.take(waiting)
  }

  /** Looks at nothing more. */
  stop(): void {
    this.#done = true
    this.#waiting = undefined
    this.#partial.clear()
  }

  /** Adds to the packet that came in pieces until it is whole and looked at; returns where the chunk goes on. */
  #complete(chunk: Buffer): number {
    const partial = this.#partial
    let at = 0
    while (at < chunk.length) {
      const length = packetLength(partial.bytes, 0, partial.size)
      const step = length === LENGTH_INCOMPLETE ? 1 : Math.min(length - partial.size, chunk.length - at)
      partial.append(chunk, at, at + step)
      at += step
      const isBad = this.#lengthFault(partial.bytes, 0, partial.size) !== undefined
      if (!isBad && packetLength(partial.bytes, 0, partial.size) !== partial.size) continue
      this.#scan(partial.take(), 0)
      break
    }
    return at
  }

  #lengthFault(bytes: Buffer, at: number, end: number): Violation | undefined {
    const length = packetLength(bytes, at, end)
    if (length === LENGTH_MALFORMED) return VIOLATIONS.lengthBytes
    return length > this.#options.state.limits.packetBytesMax ? VIOLATIONS.packetTooLarge : undefined
  }

  /** Checks the packets in `bytes` from `from` on; returns where it had to stop. */
  #scan(bytes: Buffer, from: number): number {
    const { state } = this.#options
    const end = bytes.length
    let at = from
    let run = from
    while (at < end && !this.#done && this.#waiting === undefined) {
      const first = bytes[at]!
      let fault = checkFirstByte(first, state) ?? this.#lengthFault(bytes, at, end)
      let next = at
      if (fault === undefined) {
        const length = packetLength(bytes, at, end)
        next = at + length
        if (length === LENGTH_INCOMPLETE || next > end) break
        fault = this.#check(first >>> 4, bytes, at, next)
      }
      if (fault !== undefined) {
        this.#pass(bytes, run, at)
        this.#fail(fault)
        return end
      }
      this.#packets++
      if (first >>> 4 !== PUBLISH) {
        this.#pass(bytes, run, at)
        run = this.#handle(first >>> 4, bytes, at, next) === KEEP ? at : next
      } else if ((first & 0x06) !== 0) {
        if (!this.#admitPublish()) {
          this.#pass(bytes, run, at)
          this.#options.backlog.hold(bytes.subarray(at, next))
          run = next
        } else if (run === at && isPlainPublish(first) && this.#divert(bytes, at, next)) run = next
      }
      at = next
    }
    this.#pass(bytes, run, at)
    return at
  }

  #check(type: number, bytes: Buffer, at: number, end: number): Violation | undefined {
    const { state } = this.#options
    const body = bodyStart(bytes, at)
    switch (type) {
      case PUBLISH:
        return checkPublish(bytes, at, body, end, state)
      case CONNECT:
        return checkConnect(bytes, at, body, end, state)
      case SUBSCRIBE:
        return checkSubscribe(bytes, body, end, state)
      case UNSUBSCRIBE:
        return checkUnsubscribe(bytes, body, end, state)
      case PINGREQ:
      case DISCONNECT:
        return checkEmpty(body, end)
      default:
        return checkAcknowledgement(bytes, body, end)
    }
  }

  /** False when this publish must start to wait; while others wait it is counted in when they are let go. */
  #admitPublish(): boolean {
    const { backlog } = this.#options
    backlog.expectAnswer()
    return backlog.holding || backlog.admit()
  }

  /** True when this publish went its own way; nothing may be left before it that has to go first. */
  #divert(bytes: Buffer, at: number, end: number): boolean {
    const { state, backlog, listener } = this.#options
    return !backlog.holding && listener.onPublish(publishOf(bytes, bodyStart(bytes, at), end, state))
  }

  #handle(type: number, bytes: Buffer, at: number, end: number): boolean {
    const { backlog, listener } = this.#options
    switch (type) {
      case CONNECT:
        this.#connect(bytes, at, end)
        return DROP
      case SUBSCRIBE:
      case UNSUBSCRIBE:
        return this.#filters(type, bytes, at, end)
      case PINGREQ:
        this.#pings++
        return DROP
      case DISCONNECT:
        this.#done = true
        this.#answerPings()
        listener.onDisconnect(Buffer.from(bytes.subarray(at, end)))
        return DROP
      case PUBREL:
        bytes[at] = 0x62
        backlog.expectAnswer()
        return KEEP
      default:
        return this.#acknowledge(type, bytes, end)
    }
  }

  /** Passes a CONNECT on as the broker shall see it: keep alive is our task, not the broker's. */
  #connect(bytes: Buffer, at: number, end: number): void {
    const { state, listener } = this.#options
    const fields = state.connect!
    const packet = bytes.subarray(at, end)
    packet[0] = CONNECT << 4
    packet[fields.flagsAt] = usedFlags(packet[fields.flagsAt]!, fields.level)
    writeUint16(packet, fields.flagsAt + 1, 0)
    this.#waiting = Buffer.alloc(0)
    listener.onPackets(this.#prefixes === NO_PREFIXES ? packet : prefixConnect(packet, fields, this.#prefixes, this.#options.nowMs()))
    listener.onConnect()
  }

  #filters(type: number, bytes: Buffer, at: number, end: number): boolean {
    const { backlog, repeatedFilters } = this.#options
    bytes[at] = (type << 4) | 0x02
    backlog.expectAnswer()
    if (type === SUBSCRIBE) repeatedFilters.note(bytes, at, end)
    if (this.#topicPrefix === undefined) return KEEP
    const packet = prefixFilters(bytes.subarray(at, end), this.#topicPrefix)
    this.#pass(packet, 0, packet.length)
    return DROP
  }

  #acknowledge(type: number, bytes: Buffer, end: number): boolean {
    const { state, backlog, listener } = this.#options
    const idAt = end - 2
    const packetId = readUint16(bytes, idAt)
    const brokerId = state.deliveries.acknowledged(type, packetId)
    if (brokerId === WRONG_ACKNOWLEDGEMENT) {
      this.#fail(VIOLATIONS.wrongAcknowledgement)
      return DROP
    }
    if (brokerId === ANSWER_PUBREL) listener.onAnswer(Buffer.from([0x62, 0x02, packetId >>> 8, packetId & 0xff]))
    if (brokerId === ANSWER_PUBREL || brokerId === IGNORE) return DROP
    writeUint16(bytes, idAt, brokerId)
    if (type === PUBREC) backlog.expectAnswer()
    return KEEP
  }

  #fail(violation: Violation): void {
    this.#done = true
    this.#answerPings()
    this.#options.listener.onViolation(violation)
  }

  #answerPings(): void {
    if (this.#pings === 0) return
    const answer = Buffer.alloc(2 * this.#pings)
    for (let i = 0; i < answer.length; i += 2) answer[i] = PINGRESP << 4 // [MQTT-3.12.4-1]
    this.#pings = 0
    this.#options.listener.onAnswer(answer)
  }

  #pass(bytes: Buffer, start: number, end: number): void {
    if (start === end) return
    const { backlog, listener } = this.#options
    const part = start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end)
    if (backlog.holding) backlog.hold(part)
    else listener.onPackets(part)
  }
}
