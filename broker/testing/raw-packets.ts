import mqttPacket, { type IConnectPacket, type Packet } from 'mqtt-packet'

/** MQTT packets as bytes, for clients that do what no library would. */
export function connect(
  clientId: string,
  options: { clean?: boolean; keepalive?: number; will?: { topic: string; payload: string } } = {},
): Buffer {
  const packet: IConnectPacket = {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId,
    clean: options.clean ?? true,
    keepalive: options.keepalive ?? 60,
  }
  if (options.will !== undefined)
    packet.will = { topic: options.will.topic, payload: Buffer.from(options.will.payload), qos: 1, retain: false }
  return mqttPacket.generate(packet)
}

export function connack(returnCode: number, sessionPresent = false): Buffer {
  return Buffer.from([0x20, 2, sessionPresent ? 1 : 0, returnCode])
}

export function publish(
  topic: string,
  payload: string,
  options: { qos?: 0 | 1 | 2; messageId?: number; dup?: boolean; retain?: boolean } = {},
): Buffer {
  const packet: Packet = {
    cmd: 'publish',
    topic,
    payload,
    qos: options.qos ?? 0,
    dup: options.dup ?? false,
    retain: options.retain ?? false,
  }
  if (options.messageId !== undefined) packet.messageId = options.messageId
  return mqttPacket.generate(packet)
}

export function pubrel(messageId: number): Buffer {
  return mqttPacket.generate({ cmd: 'pubrel', messageId })
}

export function subscribe(messageId: number, filters: readonly (readonly [string, 0 | 1 | 2])[]): Buffer {
  return mqttPacket.generate({ cmd: 'subscribe', messageId, subscriptions: filters.map(([topic, qos]) => ({ topic, qos })) })
}
