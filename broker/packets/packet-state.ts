import { Deliveries } from './deliveries.ts'
import type { PacketLimits } from './limits.ts'

/** Where CONNECT keeps what is read or rewritten later; offsets count from the packet's first byte. */
export interface ConnectFields {
  readonly level: number
  readonly cleanSession: boolean
  /** What the device asked for, in s; 0 means never. */
  readonly keepAliveS: number
  readonly clientId: string
  readonly flagsAt: number
  readonly clientIdAt: number
  /** Undefined without a will. */
  readonly willTopicAt: number | undefined
}

/** What the checks of one connection know and remember. */
export class PacketState {
  readonly limits: PacketLimits
  readonly deliveries = new Deliveries()
  /** Undefined until a CONNECT was found good. */
  connect: ConnectFields | undefined
  #topic = Buffer.alloc(0)
  #topicBytes = -1
  #topicText: string | undefined

  constructor(limits: PacketLimits) {
    this.limits = limits
  }

  /** True when these bytes are the topic name that was last found good, as they are for a device that reports on one topic. */
  isKnownTopic(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start !== this.#topicBytes) return false
    const topic = this.#topic
    // From the end: topics of one device differ there.
    for (let i = this.#topicBytes - 1; i >= 0; i--) if (bytes[start + i] !== topic[i]) return false
    return true
  }

  /** Remembers a copy: a view would keep the whole chunk it came in alive. */
  rememberTopic(bytes: Uint8Array, start: number, end: number): void {
    const size = end - start
    if (this.#topic.length < size) this.#topic = Buffer.allocUnsafeSlow(size)
    for (let i = 0; i < size; i++) this.#topic[i] = bytes[start + i]!
    this.#topicBytes = size
    this.#topicText = undefined
  }

  /** The topic name that was last found good. */
  get topic(): string {
    return (this.#topicText ??= this.#topic.toString('utf8', 0, this.#topicBytes))
  }
}
