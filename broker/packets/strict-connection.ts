import { Duplex } from 'node:stream'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { BudgetWaiter, IntakeBudget } from '../intake-budget.ts'
import { Acknowledgements } from './acknowledgements.ts'
import { Backlog } from './backlog.ts'
import type { DeadlineOwner, DeadlineWheel } from './deadline-wheel.ts'
import { Intake } from './intake.ts'
import { joinChunks } from './join-chunks.ts'
import type { PacketLimits } from './limits.ts'
import { OutgoingWatch } from './outgoing-watch.ts'
import { PacketState } from './packet-state.ts'
import { NO_PREFIXES, type NamePrefixes } from './prefixes.ts'
import type { PlainPublish } from './publish.ts'
import { RepeatedFilters } from './repeated-filters.ts'
import { VIOLATIONS, type Violation } from './violations.ts'

/** Longest prefix, in bytes: with the longest names that limits allow it still fits an MQTT text. */
const PREFIX_BYTES_MAX = 1_024

/** What the broker may write before it is told to wait for the socket, in bytes: one loop turn's acknowledgements fit. */
const WRITABLE_BYTES = 65_536

/** What the broker's `Aedes` must be told, so that it leaves to this layer what this layer does. */
export const AEDES_OPTIONS_BEHIND_PACKET_CHECK = {
  /** Keep alive is ours; a CONNECT reaches Aedes with keep alive 0. */
  keepaliveLimit: 0,
  /** Client ids are bounded by `clientIdBytesMax`; MQTT 3.1's 23 characters would refuse prefixed ones. */
  maxClientsIdLength: 65_535,
  /** The matcher's own bound; `topicLevelsMax` is checked here, before a tenant prefix is added. */
  maxTopicLevels: 100,
} as const

export interface StrictConnectionOptions {
  /** The raw stream: TCP socket, TLS socket or WebSocket stream. The connection owns it from here on. */
  readonly socket: Duplex
  readonly limits: PacketLimits
  /** Shared by all connections of a process: keep alive, connect and closing deadlines. */
  readonly deadlines: DeadlineWheel
  readonly prefixes?: NamePrefixes
  /** Shared by all connections: what they have read and the broker has not taken yet. */
  readonly budget?: IntakeBudget
  /** Called once, when the check (not the peer, not the broker) ends the connection; count and log here. */
  readonly onViolation: (violation: Violation, connection: StrictConnection) => void
}

/** Takes a publish instead of the broker, or leaves it (false). What is taken is answered by `acknowledge`, in the order of coming. */
export type PublishTaker = (publish: PlainPublish) => boolean

type WriteDone = (error?: Error | null) => void

/** Reasons not to read the socket on, as bits. */
const AWAITING_CONNACK = 1
const BUFFER_FULL = 2
const PEER_NOT_READING = 4
const OVER_BUDGET = 8

/** How the device's side of the conversation ended; what is still in the way of telling the broker is waited for, within bounds. */
type Ending = 'violation' | 'disconnect' | 'end-of-stream'

/**
 * The strict MQTT 3.1.1 check between a socket and Aedes: `aedes.handle(new StrictConnection({ … }))`.
 *
 * What the device sends is checked clause by clause; good bytes are passed on as they came, a bad packet ends the connection
 * [MQTT-4.8.0-1] without being passed on, after the good ones before it got their answers. Pings are answered here, and keep alive is
 * watched here, so that neither depends on how long the broker takes for a publish. Nothing is read before Aedes reads.
 */
export class StrictConnection extends Duplex implements BudgetWaiter {
  readonly #socket: Duplex
  readonly #limits: PacketLimits
  readonly #deadlines: DeadlineWheel
  readonly #onViolation: StrictConnectionOptions['onViolation']
  readonly #budget: IntakeBudget | undefined
  readonly #state: PacketState
  readonly #backlog: Backlog
  readonly #intake: Intake
  readonly #outgoing: OutgoingWatch
  readonly #acknowledgements = new Acknowledgements()
  readonly #sendAcknowledgements = (): void => this.#flushAcknowledgements()
  #taker: PublishTaker | undefined
  readonly #deadline: DeadlineOwner = { onDeadline: () => this.#onDeadline() }
  readonly #onData = (chunk: Buffer): void => this.#take(chunk)
  #started = false
  #accepted = false
  #blocked = 0
  /** What the budget was told that this connection holds, in bytes. */
  #budgetedBytes = 0
  #ending: Ending | undefined
  /** The last thing to tell the broker: a DISCONNECT, or the end of the stream. */
  #farewell: Buffer | null = null
  #farewellSaid = false
  /** One and a half keep alives [MQTT-3.1.2-24]. */
  #silenceMaxMs = 0
  #lastPacketMs = 0
  #writeDone: (() => void) | undefined

  constructor(options: StrictConnectionOptions) {
    super({ allowHalfOpen: true, readableHighWaterMark: options.limits.bufferedBytesMax, writableHighWaterMark: WRITABLE_BYTES })
    const { socket, limits, deadlines } = options
    this.#socket = socket
    this.#limits = limits
    this.#deadlines = deadlines
    this.#onViolation = options.onViolation
    this.#budget = options.budget
    const state = new PacketState(limits)
    const repeatedFilters = new RepeatedFilters()
    const backlog = new Backlog(limits.inflightMax, (bytes) => void this.push(bytes))
    this.#state = state
    this.#backlog = backlog
    this.#intake = new Intake({
      state,
      backlog,
      repeatedFilters,
      nowMs: () => deadlines.nowMs,
      listener: {
        onPackets: (bytes) => void this.push(bytes),
        onPublish: (publish) => this.#offer(publish),
        onAnswer: (bytes) => this.#answer(bytes),
        onConnect: () => this.#connected(),
        onDisconnect: (packet) => this.#end('disconnect', packet),
        onViolation: (violation) => this.#violate(violation),
      },
    })
    this.#outgoing = new OutgoingWatch({ state, backlog, repeatedFilters, onAccepted: () => (this.#accepted = true) })
    this.setPrefixes(options.prefixes ?? NO_PREFIXES)
    socket.on('error', (error) => this.destroy(this.listenerCount('error') > 0 ? error : undefined))
    socket.on('close', () => {
      deadlines.disarm(this.#deadline)
      this.destroy()
    })
  }

  /** Client id of the device as it sent it, once its CONNECT was good. */
  get clientId(): string | undefined {
    return this.#state.connect?.clientId
  }

  /** Good packets taken from the device so far. */
  get packets(): number {
    return this.#intake.packets
  }

  /** Bytes taken from the socket that neither the broker has read nor this layer has answered. */
  get bufferedBytes(): number {
    return this.readableLength + this.#backlog.heldBytes + this.#intake.pendingBytes
  }

  /** Sets the prefixes once the identity is known; only before Aedes handles this connection. */
  setPrefixes(prefixes: NamePrefixes): void {
    if (this.#started)
      throw new InvalidInputError('prefixes cannot change once packets flow', {
        remedy: 'Set them before handing the connection to the broker.',
      })
    for (const prefix of [prefixes.topicPrefix, prefixes.clientIdPrefix]) {
      if (Buffer.byteLength(prefix) > PREFIX_BYTES_MAX)
        throw new InvalidInputError(`a name prefix is longer than ${PREFIX_BYTES_MAX} bytes`)
    }
    const isOff = prefixes.topicPrefix === '' && prefixes.clientIdPrefix === ''
    this.#intake.setPrefixes(isOff ? NO_PREFIXES : prefixes)
    this.#outgoing.setPrefix(prefixes.topicPrefix)
  }

  /**
   * From now on `taker` is offered every QoS 1 publish that is not retained, as long as the broker has read all that came before it: what
   * nobody listens to needs no broker, and spares it most of what a message costs.
   */
  offerPublishes(taker: PublishTaker): void {
    this.#taker = taker
  }

  /** Sends the PUBACK of a publish that was taken, together with others of this turn. */
  acknowledge(messageId: number): void {
    if (!this.destroyed && this.#acknowledgements.add(messageId)) process.nextTick(this.#sendAcknowledgements)
  }

  override _read(): void {
    if (this.#started) return
    this.#started = true
    this.#lastPacketMs = this.#deadlines.nowMs
    this.#deadlines.arm(this.#deadline, this.#limits.connectTimeoutMs)
    this.#socket.on('data', this.#onData)
    this.#socket.on('end', () => this.#end('end-of-stream', null))
    this.#socket.on('drain', () => this.#drained())
  }

  override read(size?: number): Buffer | null {
    const bytes = super.read(size) as Buffer | null
    this.#tellBudget()
    if ((this.#blocked & BUFFER_FULL) !== 0 && this.bufferedBytes <= this.#limits.bufferedBytesMax >>> 1) this.#unblock(BUFFER_FULL)
    return bytes
  }

  /** What the broker writes comes after what was acknowledged before [MQTT-4.6.0-2]. */
  override write(chunk: unknown, encodingOrDone?: BufferEncoding | WriteDone, done?: WriteDone): boolean {
    this.#flushAcknowledgements()
    return super.write(chunk, encodingOrDone as BufferEncoding, done)
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#send(Buffer.from(chunk), callback)
  }

  override _writev(chunks: readonly { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this.#send(joinChunks(chunks), callback)
  }

  /** Ends the connection; what was acknowledged or written just before goes out first. */
  override destroy(error?: Error): this {
    this.#flushAcknowledgements()
    while (this.writableCorked > 0 && !this.destroyed) this.uncork()
    return super.destroy(error)
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const socket = this.#socket
    this.#intake.stop()
    this.#backlog.clear()
    this.#budget?.forget(this)
    this.#tellBudget()
    this.#writeDone = undefined
    if (socket.destroyed) this.#deadlines.disarm(this.#deadline)
    else if (socket.writableNeedDrain) socket.destroy()
    else {
      // Orderly: closing with bytes unread would reset the connection, and a last CONNACK or acknowledgement would be lost with it.
      this.#deadlines.arm(this.#deadline, this.#limits.closeGraceMs)
      socket.off('data', this.#onData)
      socket.resume()
      socket.end()
    }
    callback(error)
  }

  /** The budget has room again. */
  onBudget(): void {
    this.#unblock(OVER_BUDGET)
  }

  #take(chunk: Buffer): void {
    const packets = this.#intake.packets
    this.#intake.take(chunk)
    if (this.#intake.packets !== packets) this.#lastPacketMs = this.#deadlines.nowMs
    const heldBytes = this.#tellBudget()
    if (heldBytes > this.#limits.bufferedBytesMax) this.#block(BUFFER_FULL)
    // One that brings only pings costs nothing and is heard on; so is a CONNECT.
    if (heldBytes > 0 && this.#accepted && this.#budget?.isFull === true) {
      this.#block(OVER_BUDGET)
      this.#budget.wait(this)
    }
  }

  #offer(publish: PlainPublish): boolean {
    return this.#accepted && this.readableLength === 0 && this.#taker?.(publish) === true
  }

  #flushAcknowledgements(): void {
    if (!this.#acknowledgements.isEmpty && !this.destroyed) super.write(this.#acknowledgements.take())
  }

  #tellBudget(): number {
    const heldBytes = this.destroyed ? 0 : this.bufferedBytes
    if (heldBytes !== this.#budgetedBytes) this.#budget?.change(heldBytes - this.#budgetedBytes)
    this.#budgetedBytes = heldBytes
    return heldBytes
  }

  #send(bytes: Buffer, callback: () => void): void {
    const accepted = this.#accepted
    const packets = this.#outgoing.pass(bytes)
    const flows = packets.length === 0 || this.#socket.destroyed || this.#socket.write(packets)
    if (flows) callback()
    else this.#writeDone = callback
    if (this.#accepted !== accepted) {
      this.#intake.proceed()
      this.#unblock(AWAITING_CONNACK)
    }
    if (this.#ending !== undefined) this.#finish()
  }

  #answer(bytes: Buffer): void {
    if (!this.#socket.write(bytes)) this.#block(PEER_NOT_READING)
  }

  #drained(): void {
    const done = this.#writeDone
    this.#writeDone = undefined
    done?.()
    this.#unblock(PEER_NOT_READING)
  }

  #connected(): void {
    const askedS = this.#state.connect?.keepAliveS ?? 0
    const keepAliveS = askedS === 0 ? this.#limits.keepAliveMaxS : Math.min(askedS, this.#limits.keepAliveMaxS)
    // `nowMs` may be a tick behind: without that tick a device could be cut too early.
    this.#silenceMaxMs = keepAliveS * 1_500 + this.#deadlines.tickMs
    this.#deadlines.arm(this.#deadline, this.#silenceMaxMs)
    this.#block(AWAITING_CONNACK)
  }

  #block(reason: number): void {
    if (this.#blocked === 0) this.#socket.pause()
    this.#blocked |= reason
  }

  #unblock(reason: number): void {
    if ((this.#blocked & reason) === 0) return
    this.#blocked &= ~reason
    if (this.#blocked !== 0 || this.#ending !== undefined) return
    this.#lastPacketMs = this.#deadlines.nowMs
    this.#socket.resume()
  }

  #onDeadline(): void {
    if (this.destroyed) this.#socket.destroy()
    else if (this.#ending === 'disconnect' && !this.#farewellSaid) this.#sayFarewell()
    else if (this.#ending !== undefined) this.destroy()
    else if (this.#state.connect === undefined) this.#violate(VIOLATIONS.connectTimeout)
    else this.#checkSilence()
  }

  #checkSilence(): void {
    // While the broker keeps us from reading, silence is not the device's.
    const isOurs = (this.#blocked & (AWAITING_CONNACK | BUFFER_FULL | OVER_BUDGET)) !== 0
    const silenceMs = isOurs ? 0 : this.#deadlines.nowMs - this.#lastPacketMs
    if (silenceMs < this.#silenceMaxMs) this.#deadlines.arm(this.#deadline, this.#silenceMaxMs - silenceMs)
    else this.#violate(VIOLATIONS.keepAlive) // [MQTT-3.1.2-24]
  }

  #violate(violation: Violation): void {
    if (this.#ending !== undefined || this.destroyed) return
    const { connackCode } = violation
    if (connackCode !== undefined) this.#socket.write(Buffer.from([0x20, 0x02, 0x00, connackCode])) // [MQTT-3.1.2-2] [MQTT-3.1.3-8]
    this.#onViolation(violation, this)
    this.#end('violation', null) // [MQTT-4.8.0-1]
  }

  #end(ending: Ending, farewell: Buffer | null): void {
    if (this.#ending !== undefined || this.destroyed) return
    this.#ending = ending
    this.#farewell = farewell
    this.#intake.stop()
    this.#socket.pause()
    this.#deadlines.arm(this.#deadline, this.#limits.closeGraceMs)
    this.#finish()
  }

  /** Tells the broker of the end as soon as nothing before it is pending. */
  #finish(): void {
    if (this.#farewellSaid || this.#backlog.holding) return
    if (this.#ending !== 'end-of-stream' && this.#backlog.owed > 0) return
    this.#sayFarewell()
  }

  #sayFarewell(): void {
    this.#farewellSaid = true
    if (this.#ending === 'violation' && this.readableLength === 0) this.destroy()
    else this.push(this.#farewell)
    if (!this.destroyed) this.#deadlines.arm(this.#deadline, this.#limits.closeGraceMs)
  }
}
