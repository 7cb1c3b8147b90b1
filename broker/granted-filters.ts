import type { Client, Subscription } from 'aedes'
import { topicMatches } from './persistence/topic-index.ts'

/** The filters each connection was granted, with their QoS: to bound their number, and to deliver no message above the granted QoS. */
export class GrantedFilters {
  readonly #byClient = new WeakMap<Client, Map<string, number>>()

  /**
   * Notes a grant and returns the subscription Aedes is to hold: always of QoS 2, because Aedes sends a message as the first of several
   * matching subscriptions says. Which QoS it goes out with is decided by `deliveryQos`; the SUBACK says what was granted here.
   */
  grant(client: Client, subscription: Subscription): Subscription {
    const { topic, qos } = subscription
    const filters = this.#byClient.get(client)
    if (filters === undefined) this.#byClient.set(client, new Map([[topic, qos]]))
    else filters.set(topic, qos)
    return { ...subscription, qos: 2 }
  }

  revoke(client: Client, filters: readonly string[]): void {
    const granted = this.#byClient.get(client)
    for (const filter of filters) granted?.delete(filter)
  }

  has(client: Client, filter: string): boolean {
    return this.#byClient.get(client)?.has(filter) === true
  }

  count(client: Client): number {
    return this.#byClient.get(client)?.size ?? 0
  }

  matches(client: Client, topic: string): boolean {
    for (const filter of this.#byClient.get(client)?.keys() ?? []) if (topicMatches(filter, topic)) return true
    return false
  }

  /** The lower of a message's QoS and the highest granted among the filters that match its topic [MQTT-3.3.5-1] [MQTT-3.8.4-6]. */
  deliveryQos(client: Client, topic: string, qos: 0 | 1 | 2): 0 | 1 | 2 {
    if (qos === 0) return 0
    let best = -1
    for (const [filter, granted] of this.#byClient.get(client) ?? []) if (granted > best && topicMatches(filter, topic)) best = granted
    return best < 0 || best > qos ? qos : (best as 0 | 1 | 2)
  }
}
