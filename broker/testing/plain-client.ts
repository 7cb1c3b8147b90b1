import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import mqttPacket, { type IPublishPacket, type Packet } from 'mqtt-packet'
import { until } from './broker-fixture.ts'
import { connect } from './raw-packets.ts'

/** A bare MQTT client on plain TCP that shows every packet it gets; it acknowledges unless told not to. */
export class PlainClient {
  readonly socket: Socket
  readonly packets: Packet[] = []
  acknowledges = true

  private constructor(socket: Socket) {
    this.socket = socket
    const parser = mqttPacket.parser()
    parser.on('packet', (packet: Packet) => this.#take(packet))
    socket.on('data', (chunk) => void parser.parse(chunk))
    socket.on('error', () => socket.destroy())
  }

  static async open(port: number): Promise<PlainClient> {
    const socket = connectTcp(port, '127.0.0.1')
    await once(socket, 'connect')
    return new PlainClient(socket)
  }

  /** On a connection that is open already. */
  static over(socket: Socket): PlainClient {
    return new PlainClient(socket)
  }

  /** Opens and connects; fails unless the CONNACK accepts. */
  static async connected(port: number, clientId: string, options: Parameters<typeof connect>[1] = {}): Promise<PlainClient> {
    const client = await PlainClient.open(port)
    client.socket.write(connect(clientId, options))
    await client.wait('CONNACK', 'connack')
    return client
  }

  get messages(): IPublishPacket[] {
    return this.packets.filter((packet) => packet.cmd === 'publish')
  }
  get texts(): string[] {
    return this.messages.map(({ payload }) => String(payload))
  }

  send(packet: Packet): void {
    this.socket.write(mqttPacket.generate(packet))
  }

  /** The first packet of this kind that came, or comes. */
  async wait<C extends Packet['cmd']>(what: string, cmd: C): Promise<Extract<Packet, { cmd: C }>> {
    await until(what, () => this.packets.some((packet) => packet.cmd === cmd))
    return this.packets.find((packet) => packet.cmd === cmd) as Extract<Packet, { cmd: C }>
  }

  async subscribe(subscriptions: Readonly<Record<string, 0 | 1 | 2>>): Promise<number[]> {
    const known = this.packets.filter(({ cmd }) => cmd === 'suback').length
    this.send({ cmd: 'subscribe', messageId: 1, subscriptions: Object.entries(subscriptions).map(([topic, qos]) => ({ topic, qos })) })
    const subacks = (): Packet[] => this.packets.filter(({ cmd }) => cmd === 'suback')
    await until('SUBACK', () => subacks().length > known)
    return (subacks().at(-1) as { granted: number[] }).granted
  }

  /** Resolves when the last message of QoS 1 or 2 is acknowledged. */
  async publish(topic: string, payload: string, qos: 0 | 1 | 2 = 0, retain = false): Promise<void> {
    const answer = qos === 1 ? 'puback' : 'pubcomp'
    const messageId = 100 + this.packets.length
    this.send({ cmd: 'publish', topic, payload, qos, retain, dup: false, ...(qos === 0 ? {} : { messageId }) })
    if (qos > 0) await until(answer, () => this.packets.some((packet) => packet.cmd === answer && packet.messageId === messageId))
  }

  /** A ping and its answer: everything the broker had to say before has come. */
  async settle(): Promise<void> {
    const pongs = (): number => this.packets.filter(({ cmd }) => cmd === 'pingresp').length
    const known = pongs()
    this.send({ cmd: 'pingreq' })
    await until('PINGRESP', () => pongs() > known)
  }

  disconnect(): void {
    this.send({ cmd: 'disconnect' })
    this.socket.end()
  }

  #take(packet: Packet): void {
    this.packets.push(packet)
    if (packet.cmd === 'pubrec') this.send({ cmd: 'pubrel', messageId: packet.messageId ?? 0 })
    if (!this.acknowledges) return
    if (packet.cmd === 'publish' && packet.qos === 1) this.send({ cmd: 'puback', messageId: packet.messageId ?? 0 })
    if (packet.cmd === 'publish' && packet.qos === 2) this.send({ cmd: 'pubrec', messageId: packet.messageId ?? 0 })
    if (packet.cmd === 'pubrel') this.send({ cmd: 'pubcomp', messageId: packet.messageId ?? 0 })
  }
}
