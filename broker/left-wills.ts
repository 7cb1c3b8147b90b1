import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { BrokerPacket } from './persistence/packet.ts'
import type { WillStore } from './persistence/will-store.ts'

/** Wills said at once; after a power cut every device of a fleet may have left one. */
const AT_ONCE = 100

/**
 * Wills of connections that ended with the process that held them [MQTT-3.1.2-8]. Whoever holds the device afterwards (a restarted edge,
 * or the one that took over) publishes them once, before the device's next connection puts its own in their place.
 */
export class LeftWills {
  readonly #wills: WillStore
  readonly #publish: (will: BrokerPacket) => Promise<void>
  readonly #log: Logger
  readonly #saying = new Map<string, Promise<void>>()

  constructor(options: { wills: WillStore; publish: (will: BrokerPacket) => Promise<void>; log: Logger }) {
    this.#wills = options.wills
    this.#publish = options.publish
    this.#log = options.log
  }

  /** Publishes what these clients left behind; `brokerId` is this run's, whose own wills are not meant. */
  say(clientIds: readonly string[], brokerId: string | undefined): void {
    const left = clientIds.filter((clientId) => {
      const will = this.#wills.get(clientId)
      return will !== undefined && will.brokerId !== brokerId && !this.#saying.has(clientId)
    })
    let before: Promise<unknown> = Promise.resolve()
    for (let at = 0; at < left.length; at += AT_ONCE) {
      const turn = before
      const saying = left.slice(at, at + AT_ONCE).map((clientId) => {
        const said = turn.then(() => this.#say(clientId)).finally(() => this.#saying.delete(clientId))
        this.#saying.set(clientId, said)
        return said
      })
      before = Promise.all(saying)
    }
  }

  /** Resolves when this client's will is said; undefined when none is being said. */
  of(clientId: string): Promise<void> | undefined {
    return this.#saying.get(clientId)
  }

  /** Lets the client's next connection wait no longer. */
  forget(clientId: string): void {
    this.#saying.delete(clientId)
  }

  async #say(clientId: string): Promise<void> {
    const will = this.#wills.get(clientId)
    if (will === undefined) return
    try {
      await this.#publish(will)
      // A new connection may have left its own by now.
      if (this.#wills.get(clientId) === will) await this.#wills.delete(clientId)
    } catch (error) {
      this.#log.warn({ clientId, error: describeError(error) }, 'a will that was left behind was not published')
    }
  }
}
