import { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { compileSchema } from '../kernel/schema.ts'
import { systemClock } from '../kernel/time.ts'
import { Backlog } from '../broker/packets/backlog.ts'
import { DeadlineWheel } from '../broker/packets/deadline-wheel.ts'
import { Intake } from '../broker/packets/intake.ts'
import { packetLimitsSchema, type PacketLimits } from '../broker/packets/limits.ts'
import { OutgoingWatch } from '../broker/packets/outgoing-watch.ts'
import { PacketState } from '../broker/packets/packet-state.ts'
import { RepeatedFilters } from '../broker/packets/repeated-filters.ts'
import { StrictConnection } from '../broker/packets/strict-connection.ts'

/** Connections, bytes of one read of a socket, and packets in all: the broker's hot path as the design describes it. */
const CONNECTIONS = 50
const CHUNK_BYTES = 65_536
const PACKETS = 4_000_000

interface Figure {
  name: string
  value: number
  unit: string
}

function limits(): PacketLimits {
  const result = compileSchema(packetLimitsSchema)({ inflightMax: 65_535 })
  if (result.status === 'invalid') throw new Error(JSON.stringify(result.faults))
  return result.value
}

function connectPacket(device: string): Buffer {
  const id = Buffer.from(device)
  return Buffer.concat([Buffer.from([0x10, 12 + id.length, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, id.length]), id])
}

/** QoS 1 publishes of two metrics, as many as one read of the socket brings; ends in the middle of a packet, as reads do. */
function chunksOf(device: string): { chunk: Buffer; packets: number } {
  const topic = Buffer.from(`devices/${device}/telemetry`)
  const payload = Buffer.from('{"ts":1763680000000,"boot":"b7","seq":42,"values":{"temperature":21.5,"vibration":0.25}}')
  const body = Buffer.concat([Buffer.from([0, topic.length]), topic, Buffer.from([1, 1]), payload])
  const publish = Buffer.concat([Buffer.from([0x32, (body.length & 0x7f) | 0x80, body.length >>> 7]), body])
  const packets = Math.floor(CHUNK_BYTES / publish.length)
  return { chunk: Buffer.concat(Array.from({ length: packets }, () => publish)), packets }
}

function figure(name: string, packets: number, tookMs: number): Figure {
  return { name, value: Math.round((packets / tookMs) * 1_000), unit: 'packets/s' }
}

/** The check by itself. */
function benchIntake(): Figure {
  const intakes = Array.from({ length: CONNECTIONS }, (_, i) => {
    const state = new PacketState(limits())
    const backlog = new Backlog(65_535, () => undefined)
    const nothing = (): void => undefined
    const listener = {
      onPackets: nothing,
      onPublish: () => false,
      onAnswer: nothing,
      onConnect: nothing,
      onDisconnect: nothing,
      onViolation: nothing,
    }
    const intake = new Intake({ state, backlog, repeatedFilters: new RepeatedFilters(), listener, nowMs: () => 0 })
    intake.take(connectPacket(`device-${i}`))
    intake.proceed()
    return { intake, backlog, ...chunksOf(`device-${i}`) }
  })
  let packets = 0
  const startMs = systemClock.monotonicMs()
  while (packets < PACKETS) {
    for (const { intake, backlog, chunk, packets: count } of intakes) {
      // The last packet comes in two pieces.
      intake.take(chunk.subarray(0, chunk.length - 20))
      intake.take(chunk.subarray(chunk.length - 20))
      packets += count
      while (backlog.publishing > 0) backlog.published()
    }
  }
  return figure('strict packets checked', packets, systemClock.monotonicMs() - startMs)
}

/** The watch over acknowledgements that go out. */
function benchOutgoing(): Figure {
  const state = new PacketState(limits())
  const watch = new OutgoingWatch({
    state,
    backlog: new Backlog(65_535, () => undefined),
    repeatedFilters: new RepeatedFilters(),
    onAccepted: () => undefined,
  })
  const puback = Buffer.from([0x40, 2, 0, 7])
  const many = Buffer.concat(Array.from({ length: 512 }, () => puback))
  let packets = 0
  const startMs = systemClock.monotonicMs()
  while (packets < PACKETS) {
    watch.pass(many)
    packets += 512
  }
  return figure('acknowledgements watched', packets, systemClock.monotonicMs() - startMs)
}

/** A socket that gives chunks as fast as they are read, and swallows what is written. */
class ChunkSource extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: BufferEncoding, callback: () => void): void {
    callback()
  }
}

/** The whole stream, into a reader that acknowledges each packet and does nothing else. */
async function benchConnection(): Promise<Figure> {
  const deadlines = new DeadlineWheel(systemClock)
  const pairs = Array.from({ length: CONNECTIONS }, (_, i) => {
    const socket = new ChunkSource()
    const connection = new StrictConnection({
      socket,
      limits: limits(),
      deadlines,
      onViolation: (violation) => {
        throw new Error(violation.sentence)
      },
    })
    const source = chunksOf(`device-${i}`)
    const acknowledgements = Buffer.concat(Array.from({ length: source.packets }, () => Buffer.from([0x40, 2, 1, 1])))
    let isConnected = false
    connection.on('readable', () => {
      if (connection.read() === null) return
      connection.write(isConnected ? acknowledgements : Buffer.from([0x20, 2, 0, 0]))
      isConnected = true
    })
    socket.push(connectPacket(`device-${i}`))
    return { socket, connection, ...source }
  })
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  await turn()
  await turn()
  let packets = 0
  const startMs = systemClock.monotonicMs()
  while (packets < PACKETS) {
    for (const { socket, chunk, packets: count } of pairs) {
      socket.push(chunk)
      packets += count
    }
    await turn()
  }
  const took = systemClock.monotonicMs() - startMs
  const seen = pairs.reduce((sum, { connection }) => sum + connection.packets, 0)
  if (seen !== packets + CONNECTIONS) throw new Error(`${seen} of ${packets + CONNECTIONS} packets came through`)
  for (const { connection } of pairs) connection.destroy()
  deadlines.stop()
  return figure('strict packets through the connection', packets, took)
}

/** Publishes a second through the check alone, through the whole stream into a reader that only acknowledges, and acknowledgements out. */
export async function benchmarkStrictPackets(report: (figure: Figure) => void): Promise<void> {
  benchIntake()
  benchOutgoing()
  await benchConnection()
  report(benchIntake())
  report(benchOutgoing())
  report(await benchConnection())
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await benchmarkStrictPackets((line) => process.stdout.write(`${JSON.stringify(line)}\n`))
}
