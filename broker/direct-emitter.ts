import { TopicIndex } from './persistence/topic-index.ts'

/** What the emitter needs of a packet; its listeners get the packet itself. */
export interface EmittedPacket {
  topic: string
  qos?: number
  brokerId?: string | undefined
  brokerCounter?: number
}
type Listener = (packet: EmittedPacket, done: () => void) => void

/**
 * The emitter inside Aedes (its `mq`), made for many topics that nobody listens to: a device's telemetry is looked up in its own few
 * filters, and with none of them the publish goes on in the same turn. Deliveries of one message wait for its slowest listener and no
 * message waits for another one, so a device that reads slowly holds up only who publishes to it.
 */
export class DirectEmitter {
  readonly #listeners = new TopicIndex<Listener>()
  readonly #holdsBack: (packet: EmittedPacket) => boolean
  closed = false

  /** A packet for which `holdsBack` is true reaches nobody: whoever holds it back sends it otherwise. Default: none is. */
  constructor(holdsBack: (packet: EmittedPacket) => boolean = () => false) {
    this.#holdsBack = holdsBack
  }

  on(filter: string, listener: Listener, done?: () => void): this {
    this.#listeners.add(filter, listener)
    if (done !== undefined) setImmediate(done)
    return this
  }

  removeListener(filter: string, listener: Listener, done?: () => void): this {
    this.#listeners.remove(filter, (known) => known === listener)
    if (done !== undefined) setImmediate(done)
    return this
  }

  emit(packet: EmittedPacket, done: (error?: Error) => void): this {
    if (this.closed) {
      done(new Error('the broker is stopped'))
      return this
    }
    const listeners = this.#listeners.match(packet.topic)
    let waitingFor = listeners.length
    if (waitingFor === 0 || this.#holdsBack(packet)) {
      done()
      return this
    }
    const delivered = (): void => {
      if (--waitingFor === 0) done()
    }
    for (const listener of listeners) listener(packet, delivered)
    return this
  }

  /** Is there a listener for this topic? */
  hasListener(topic: string): boolean {
    return this.#listeners.matches(topic)
  }

  close(done: () => void): this {
    this.closed = true
    setImmediate(done)
    return this
  }
}
