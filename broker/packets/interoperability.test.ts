import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { VirtualClock } from '../../kernel/time.ts'
import { startTestBroker, type TestBroker } from './testing/test-broker.ts'
import { until, WireClient } from './testing/wire-client.ts'
import {
  acknowledge,
  connack,
  connect,
  DISCONNECT_BYTES,
  field,
  PINGREQ_BYTES,
  PINGRESP_BYTES,
  publish,
  suback,
  subscribe,
} from './testing/wire.ts'

/** A message as a subscriber sees it. */
interface Message {
  readonly topic: string
  readonly payload: string
  readonly qos: number
  readonly retain: boolean
  readonly id: number
}

const PERSISTENT = 0x00

/** A well-behaved device: acknowledges deliveries, and can be told to stop doing so. */
class Device {
  readonly messages: Message[] = []
  /** Packet ids of deliveries, acknowledged or not. */
  readonly ids: number[] = []
  readonly #client: WireClient
  readonly #answers = new Map<string, (packet: Buffer) => void>()
  #acknowledges = true
  #nextId = 1

  constructor(port: number) {
    this.#client = new WireClient(port)
  }

  static async connected(broker: TestBroker, parts: Parameters<typeof connect>[0], sessionPresent = 0): Promise<Device> {
    const device = new Device(broker.port)
    device.#client.send(connect(parts))
    assert.deepEqual(await device.#client.receive(4), connack(0, sessionPresent))
    void device.#listen()
    return device
  }

  async subscribe(filter: string, qos: number): Promise<number> {
    const id = this.#nextId++
    const answer = await this.#ask(0x90, id, subscribe(id, [filter, qos]))
    return answer[4]!
  }

  /** Both filters in one packet. */
  async subscribeBoth(first: [string, number], second: [string, number]): Promise<void> {
    const id = this.#nextId++
    assert.deepEqual(await this.#ask(0x90, id, subscribe(id, first, second)), suback(id, first[1], second[1]))
  }

  async publish(topic: string, payload: string, qos = 0, retain = false): Promise<void> {
    const id = this.#nextId++
    const message = publish(topic, payload, { qos, id, retain })
    if (qos === 0) this.#client.send(message)
    else if (qos === 1) await this.#ask(0x40, id, message)
    else {
      await this.#ask(0x50, id, message)
      await this.#ask(0x70, id, acknowledge(0x62, id))
    }
  }

  /** All that was sent before is taken when this is back. */
  async ping(): Promise<void> {
    await this.#ask(0xd0, 0, PINGREQ_BYTES)
  }

  stopAcknowledging(): void {
    this.#acknowledges = false
  }

  async disconnect(): Promise<void> {
    this.#client.send(DISCONNECT_BYTES)
    await this.#client.untilClosed()
  }

  cut(): void {
    this.#client.destroy()
  }

  async untilClosed(): Promise<void> {
    await this.#client.untilClosed()
  }

  #ask(first: number, id: number, packet: Buffer): Promise<Buffer> {
    return new Promise((resolve) => {
      this.#answers.set(`${first} ${id}`, resolve)
      this.#client.send(packet)
    })
  }

  async #listen(): Promise<void> {
    while (!this.#client.closed) {
      const packet = await this.#client.receivePacket().catch(() => Buffer.alloc(0))
      if (packet.length > 0) this.#received(packet)
    }
  }

  #received(packet: Buffer): void {
    const type = packet[0]! >>> 4
    if (type === 3) this.#delivered(packet)
    else if (type === 6) this.#client.send(acknowledge(0x70, packet.readUInt16BE(2)))
    else this.#answers.get(`${packet[0]!} ${packet.equals(PINGRESP_BYTES) ? 0 : packet.readUInt16BE(2)}`)?.(packet)
  }

  #delivered(packet: Buffer): void {
    const qos = (packet[0]! >>> 1) & 3
    const topicEnd = 4 + packet.readUInt16BE(2)
    const id = qos === 0 ? 0 : packet.readUInt16BE(topicEnd)
    this.ids.push(id)
    if (!this.#acknowledges) return
    const payload = packet.toString('utf8', topicEnd + (qos === 0 ? 0 : 2))
    this.messages.push({ topic: packet.toString('utf8', 4, topicEnd), payload, qos, retain: (packet[0]! & 1) === 1, id })
    if (qos > 0) this.#client.send(acknowledge(qos === 1 ? 0x40 : 0x50, id))
  }
}

async function withBroker(run: (broker: TestBroker, clock: VirtualClock) => Promise<void>): Promise<void> {
  const clock = new VirtualClock()
  const broker = await startTestBroker({ clock })
  try {
    await run(broker, clock)
  } finally {
    await broker.stop()
  }
}

const short = (message: Message): string => `${message.topic} ${message.payload} ${message.qos}`

describe('devices of MQTT 3.1.1 behind the check', () => {
  it('publish and get every QoS', () =>
    withBroker(async (broker) => {
      const device = await Device.connected(broker, { clientId: 'a' })
      assert.equal(await device.subscribe('TopicA', 2), 2)
      for (const qos of [0, 1, 2]) await device.publish('TopicA', `qos ${qos}`, qos)
      await until('all three came', () => device.messages.length === 3)
      assert.deepEqual(device.messages.map(short), ['TopicA qos 0 0', 'TopicA qos 1 1', 'TopicA qos 2 2'])
      await device.disconnect()
    }))

  it('find retained messages, until they are cleared', () =>
    withBroker(async (broker) => {
      const publisher = await Device.connected(broker, { clientId: 'a' })
      for (const qos of [0, 1, 2]) await publisher.publish(`kept/${qos}`, `qos ${qos}`, qos, true)
      const reader = await Device.connected(broker, { clientId: 'b' })
      await reader.subscribe('+/+', 2)
      await until('all three came', () => reader.messages.length === 3)
      assert.ok(reader.messages.every((message) => message.retain))
      for (const qos of [0, 1, 2]) await publisher.publish(`kept/${qos}`, '', qos, true)
      await publisher.ping()
      const later = await Device.connected(broker, { clientId: 'c' })
      await later.subscribe('+/+', 2)
      await publisher.publish('kept/end', 'end', 1)
      await until('the last came', () => later.messages.length > 0)
      assert.deepEqual(later.messages.map(short), ['kept/end end 1'])
      for (const device of [publisher, reader, later]) await device.disconnect()
    }))

  it('leave a will when they are cut off', () =>
    withBroker(async (broker) => {
      const watcher = await Device.connected(broker, { clientId: 'b', flags: PERSISTENT })
      await watcher.subscribe('Topic/C', 2)
      const rest = Buffer.concat([field('Topic/C'), field('not disconnected')])
      const device = await Device.connected(broker, { clientId: 'a', flags: 0x06, keepAliveS: 2, rest })
      device.cut()
      await until('the will came', () => watcher.messages.length === 1)
      await watcher.disconnect()
    }))

  it('leave a will when they fall silent', () =>
    withBroker(async (broker, clock) => {
      const watcher = await Device.connected(broker, { clientId: 'b', keepAliveS: 0 })
      await watcher.subscribe('/TopicA', 2)
      const device = await Device.connected(broker, {
        clientId: 'a',
        flags: 0x06,
        keepAliveS: 5,
        rest: Buffer.concat([field('/TopicA'), field('silent')]),
      })
      await clock.advance(7_000)
      assert.equal(watcher.messages.length, 0)
      await clock.advance(1_000)
      await device.untilClosed()
      await until('the will came', () => watcher.messages.length === 1)
      await watcher.disconnect()
    }))

  it('get what was published while they were away', () =>
    withBroker(async (broker) => {
      const away = await Device.connected(broker, { clientId: 'a', flags: PERSISTENT })
      await away.subscribe('+/+', 2)
      await away.disconnect()
      const publisher = await Device.connected(broker, { clientId: 'b' })
      for (const qos of [1, 2]) await publisher.publish(`queue/${qos}`, `qos ${qos}`, qos)
      await publisher.disconnect()
      const back = await Device.connected(broker, { clientId: 'a', flags: PERSISTENT }, 1)
      await until('both came', () => back.messages.length === 2)
      assert.deepEqual(back.messages.map(short).sort(), ['queue/1 qos 1 1', 'queue/2 qos 2 2'])
      await back.disconnect()
    }))

  it('of MQTT 3.1 find a zero where 3.1.1 says whether a session was there', () =>
    withBroker(async (broker) => {
      const first = { name: 'MQIsdp', level: 3, clientId: 'a', flags: PERSISTENT }
      for (const _time of [1, 2]) {
        const device = await Device.connected(broker, first, 0)
        await device.subscribe('TopicA', 1)
        await device.disconnect()
      }
    }))

  it('get one message once or per subscription when two match', () =>
    withBroker(async (broker) => {
      const device = await Device.connected(broker, { clientId: 'a' })
      await device.subscribeBoth(['TopicA/#', 2], ['TopicA/+', 1])
      await device.publish('TopicA/C', 'overlapping', 2)
      await until('it came', () => device.messages.length > 0)
      await device.publish('TopicA/D', 'next', 2)
      await until('the next came', () => device.messages.some((message) => message.payload === 'next'))
      const qos = device.messages.filter((message) => message.payload === 'overlapping').map((message) => message.qos)
      assert.ok(qos.length === 1 ? qos[0] === 2 : qos.length === 2 && qos.includes(1) && qos.includes(2), String(qos))
      await device.disconnect()
    }))

  it('get again what they did not acknowledge, under the same id [MQTT-4.4.0-1]', () =>
    withBroker(async (broker) => {
      const silent = await Device.connected(broker, { clientId: 'b', flags: PERSISTENT })
      await silent.subscribe('TopicA/#', 2)
      silent.stopAcknowledging()
      await silent.publish('TopicA/B', '', 1)
      await silent.publish('TopicA/C', '', 2)
      await until('both came', () => silent.ids.length === 2)
      await silent.disconnect()
      assert.equal(silent.messages.length, 0)
      const back = await Device.connected(broker, { clientId: 'b', flags: PERSISTENT }, 1)
      await until('both came', () => back.messages.length === 2)
      assert.deepEqual(back.ids.toSorted(), silent.ids.toSorted())
      await back.ping()
      await back.disconnect()
      const again = await Device.connected(broker, { clientId: 'b', flags: PERSISTENT }, 1)
      await again.publish('TopicA/B', 'new', 1)
      await until('the new one came', () => again.messages.length > 0)
      assert.deepEqual(
        again.messages.map((message) => message.payload),
        ['new'],
      )
      await again.disconnect()
    }))

  it('do not get topics with $ through a wildcard [MQTT-4.7.2-1]', () =>
    withBroker(async (broker) => {
      const device = await Device.connected(broker, { clientId: 'b', keepAliveS: 0 })
      await device.subscribe('#', 2)
      await device.subscribe('+/B', 2)
      await device.publish('$TopicA/B', '', 1)
      await device.publish('end', '', 1)
      await until('the last came', () => device.messages.some((message) => message.topic === 'end'))
      assert.deepEqual(
        device.messages.map((message) => message.topic),
        ['end'],
      )
      await device.disconnect()
    }))
})
