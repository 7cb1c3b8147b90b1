import { PublishEncoder } from '../../simulators/mqtt-packets.ts'

const ZERO = 0x30
const TS_DIGITS = 13
/** Centi-units: two digits before the point, two behind it. */
const VALUE_DIGITS = 4

/** Where the digits lie that differ from packet to packet; `seq` grows by a digit now and then, and the rest moves. */
interface Template {
  bytes: Buffer
  packetIdAt: number
  tsAt: number
  seqAt: number
  seqDigits: number
  temperatureAt: number
  humidityAt: number
}

/**
 * QoS 1 PUBLISH packets of one device, prebuilt: each is a copy of the last with its digits written over, so that a load generator costs
 * little beside what it loads. The payload is a reading of two metrics, `{"ts":…,"boot":…,"seq":n,"values":{"temperature":…,"humidity":…}}`,
 * whose event time grows by 1 ms.
 */
export class ReadingPackets {
  readonly #encoder: PublishEncoder
  readonly #boot: string
  readonly #startTs: number
  #template: Template

  /** `startTs` is the event time of seq 0, epoch ms. */
  constructor(options: { device: string; boot: string; startTs: number }) {
    this.#encoder = new PublishEncoder(`devices/${options.device}/telemetry`)
    this.#boot = options.boot
    this.#startTs = options.startTs
    this.#template = this.#templateFor(1)
  }

  /** Packets of `count` readings from `seq` on, in one buffer. Packet ids are those of `packetIdOf`. */
  build(seq: number, count: number): Buffer {
    const firstDigits = String(seq).length
    if (String(seq + count - 1).length > firstDigits) {
      const split = 10 ** firstDigits
      return Buffer.concat([this.build(seq, split - seq), this.build(split, seq + count - split)])
    }
    if (firstDigits !== this.#template.seqDigits) this.#template = this.#templateFor(firstDigits)
    const { length } = this.#template.bytes
    const packets = Buffer.allocUnsafe(count * length)
    for (let i = 0; i < count; i++) this.#write(packets, i * length, seq + i)
    return packets
  }

  #write(packets: Buffer, at: number, seq: number): void {
    const { bytes, packetIdAt, tsAt, seqAt, seqDigits, temperatureAt, humidityAt } = this.#template
    packets.set(bytes, at)
    const packetId = packetIdOf(seq)
    packets[at + packetIdAt] = packetId >>> 8
    packets[at + packetIdAt + 1] = packetId & 0xff
    writeDigits(packets, at + tsAt, TS_DIGITS, this.#startTs + seq)
    writeDigits(packets, at + seqAt, seqDigits, seq)
    writeCentis(packets, at + temperatureAt, 2_000 + ((seq * 7) % 100) * 2)
    writeCentis(packets, at + humidityAt, 4_000 + ((seq * 3) % 100) * 4)
  }

  #templateFor(seqDigits: number): Template {
    const payload = Buffer.from(
      `{"ts":${this.#startTs},"boot":"${this.#boot}","seq":${'0'.repeat(seqDigits)},"values":{"temperature":00.00,"humidity":00.00}}`,
    )
    const bytes = this.#encoder.encode(0, payload)
    const payloadAt = bytes.length - payload.length
    const after = (key: string): number => bytes.indexOf(key, payloadAt) + key.length
    return {
      bytes,
      packetIdAt: payloadAt - 2,
      tsAt: after('"ts":'),
      seqAt: after('"seq":'),
      seqDigits,
      temperatureAt: after('"temperature":'),
      humidityAt: after('"humidity":'),
    }
  }
}

/** Packet ids go round from 1 to 65535 [MQTT-2.3.1-1]. */
export function packetIdOf(seq: number): number {
  return (seq % 65_535) + 1
}

function writeDigits(into: Buffer, at: number, digits: number, value: number): void {
  let rest = value
  for (let i = at + digits - 1; i >= at; i--) {
    const left = Math.floor(rest / 10)
    into[i] = ZERO + rest - left * 10
    rest = left
  }
}

/** `00.00` */
function writeCentis(into: Buffer, at: number, centis: number): void {
  const whole = Math.floor(centis / 100)
  writeDigits(into, at, VALUE_DIGITS / 2, whole)
  writeDigits(into, at + VALUE_DIGITS / 2 + 1, VALUE_DIGITS / 2, centis - whole * 100)
}
