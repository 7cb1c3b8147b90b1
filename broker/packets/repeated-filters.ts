import { bodyStart, readUint16 } from './framing.ts'
import { assemble } from './prefixes.ts'

const REFUSED = 0x80

/** One filter of a SUBSCRIBE that names a filter twice: the QoS asked for, and which answer of the broker is its own. */
interface Asked {
  readonly qos: number
  readonly answer: number
}

/**
 * The broker answers a filter that is named twice in one SUBSCRIBE once, but a SUBACK must have one return code for each
 * [MQTT-3.8.4-5]. Such packets are rare; they are remembered until their SUBACK comes by and is filled up.
 */
export class RepeatedFilters {
  readonly #byPacketId = new Map<number, readonly Asked[]>()

  /** Notes a good SUBSCRIBE that runs from `at` to `end`. */
  note(bytes: Buffer, at: number, end: number): void {
    let next = bodyStart(bytes, at) + 2
    const packetId = readUint16(bytes, next - 2)
    if (next + 2 + readUint16(bytes, next) + 1 === end) return
    const answers = new Map<string, number>()
    const asked: Asked[] = []
    while (next < end) {
      const filterEnd = next + 2 + readUint16(bytes, next)
      const filter = bytes.toString('latin1', next + 2, filterEnd)
      const answer = answers.get(filter) ?? answers.size
      answers.set(filter, answer)
      asked.push({ qos: bytes[filterEnd]!, answer })
      next = filterEnd + 1
    }
    if (answers.size < asked.length) this.#byPacketId.set(packetId, asked)
  }

  /** The SUBACK to send instead of the broker's, or undefined when that is right as it is. */
  fill(bytes: Buffer, at: number, end: number): Buffer | undefined {
    if (this.#byPacketId.size === 0) return undefined
    const body = bodyStart(bytes, at)
    const packetId = readUint16(bytes, body)
    const asked = this.#byPacketId.get(packetId)
    if (asked === undefined) return undefined
    this.#byPacketId.delete(packetId)
    const codes = bytes.subarray(body + 2, end)
    const filled = asked.map(({ qos, answer }) => (codes[answer] === REFUSED ? REFUSED : qos))
    return assemble(bytes[at]!, [bytes.subarray(body, body + 2), Buffer.from(filled)])
  }
}
