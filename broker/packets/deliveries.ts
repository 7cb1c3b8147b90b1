import { PUBACK, PUBCOMP, PUBREC } from './packet-types.ts'

/** What `acknowledged` answers when the acknowledgement is not for the broker. Other answers are the broker's packet id. */
export const IGNORE = 0
export const ANSWER_PUBREL = -1
export const WRONG_ACKNOWLEDGEMENT = -2

const AWAITS_PUBACK = 0
const AWAITS_PUBREC = 1
const PUBREC_TAKEN = 2
const AWAITS_PUBCOMP = 3

interface Delivery {
  step: number
  readonly brokerId: number
}

/**
 * The QoS 1 and 2 deliveries to one device that are not yet acknowledged, and the packet ids they travel under.
 *
 * A clean session is numbered here, from 1, with ids not in use [MQTT-2.3.1-2] [MQTT-2.3.1-4], because the broker behind counts from a
 * random number and comes round without looking. A persistent session keeps the broker's ids, for a delivery must be repeated under
 * the id it had on an earlier connection [MQTT-4.4.0-1]. Bounded by the number of packet ids, 65535.
 */
export class Deliveries {
  /** Number clean sessions here; set by CONNECT. */
  renumber = true
  readonly #byDeviceId = new Map<number, Delivery>()
  readonly #deviceIds = new Map<number, number>()
  #nextId = 1

  get size(): number {
    return this.#byDeviceId.size
  }

  /** A PUBLISH with QoS 1 or 2 goes out under `brokerId`: the id the device shall see. */
  published(brokerId: number, qos: number): number {
    const deviceId = this.renumber ? this.#assign(brokerId) : brokerId
    this.#byDeviceId.set(deviceId, { step: qos === 1 ? AWAITS_PUBACK : AWAITS_PUBREC, brokerId })
    return deviceId
  }

  /** A PUBREL goes out under `brokerId`: the id the device shall see. `answers` says whether it answers a PUBREC of this connection. */
  released(brokerId: number): { deviceId: number; answers: boolean } {
    const deviceId = this.renumber ? (this.#deviceIds.get(brokerId) ?? brokerId) : brokerId
    const answers = this.#byDeviceId.get(deviceId)?.step === PUBREC_TAKEN
    this.#byDeviceId.set(deviceId, { step: AWAITS_PUBCOMP, brokerId })
    return { deviceId, answers }
  }

  /**
   * A PUBACK, PUBREC or PUBCOMP came from the device: the broker's id to pass it on under, or IGNORE (nothing waits for it),
   * ANSWER_PUBREL (a PUBREC that needs its PUBREL only), WRONG_ACKNOWLEDGEMENT [MQTT-4.3.2-1] [MQTT-4.3.3-1].
   */
  acknowledged(type: number, deviceId: number): number {
    const delivery = this.#byDeviceId.get(deviceId)
    // Late and repeated acknowledgements are harmless; a PUBREC is answered all the same, or the device would wait for ever.
    if (delivery === undefined) return type === PUBREC ? ANSWER_PUBREL : IGNORE
    if (type === PUBREC) {
      if (delivery.step === AWAITS_PUBCOMP) return ANSWER_PUBREL
      if (delivery.step === PUBREC_TAKEN) return IGNORE
      if (delivery.step !== AWAITS_PUBREC) return WRONG_ACKNOWLEDGEMENT
      delivery.step = PUBREC_TAKEN
      return delivery.brokerId
    }
    const due = delivery.step === AWAITS_PUBACK ? PUBACK : delivery.step === AWAITS_PUBCOMP ? PUBCOMP : PUBREC
    if (type !== due) return WRONG_ACKNOWLEDGEMENT
    this.#byDeviceId.delete(deviceId)
    this.#deviceIds.delete(delivery.brokerId)
    return delivery.brokerId
  }

  #assign(brokerId: number): number {
    // The broker's ids have come round: what went under this one 65535 deliveries ago will not be acknowledged any more.
    const abandoned = this.#deviceIds.get(brokerId)
    if (abandoned !== undefined) this.#byDeviceId.delete(abandoned)
    while (this.#byDeviceId.has(this.#nextId)) this.#advance()
    const deviceId = this.#nextId
    this.#advance()
    this.#deviceIds.set(brokerId, deviceId)
    return deviceId
  }

  #advance(): void {
    this.#nextId = this.#nextId === 65_535 ? 1 : this.#nextId + 1 // [MQTT-2.3.1-1]
  }
}
