import { Type, type Static } from 'typebox'
import { DEVICE_ID_PATTERN, TENANT_PATTERN } from '../contracts/device.ts'
import type { ConfigFault } from '../kernel/errors.ts'
import { TopicPattern } from './topic-pattern.ts'

/** A door to devices that speak with a broker people already run: we take its messages with a shared subscription. */
export const MqttDoorConfigSchema = Type.Object(
  {
    url: Type.String({
      default: '',
      pattern: '^((mqtts?|wss?)://[^\\s@]+)?$',
      description:
        'The broker, for instance mqtts://broker.example.com:8883 (mqtt, mqtts, ws, wss; it must speak MQTT 5). Empty: no such door. User name and password go into their own settings.',
    }),
    topicPattern: Type.String({
      default: 'devices/{device}/telemetry',
      minLength: 1,
      maxLength: 1_024,
      description:
        'Topics to take, and which level is what: {device} once, {tenant} and {type} if there are such levels, + for any other level, # at the end. For instance sensors/+/{device}/up. The payload is what a device would publish on our own telemetry topic.',
    }),
    group: Type.String({
      default: 'fleetpulse',
      pattern: '^[^/+#\\s]{1,64}$',
      description: 'Name of the shared subscription ($share/GROUP/…): processes with one name share the messages.',
    }),
    clientId: Type.String({
      default: '',
      maxLength: 64,
      description:
        'MQTT client id of this process, its own and the same after a restart, because the broker keeps what comes meanwhile under it. Empty: made from the id that the data folder holds.',
    }),
    username: Type.String({ default: '', maxLength: 256, description: 'User name at the broker; empty: none.' }),
    password: Type.String({ default: '', maxLength: 4_096, secret: true, description: 'Password at the broker; printed masked.' }),
    caFile: Type.String({
      default: '',
      description: 'PEM file of the CAs that may have signed the broker’s certificate; empty: those that Node trusts.',
    }),
    certFile: Type.String({ default: '', description: 'PEM file of our client certificate, for brokers that ask for one; with keyFile.' }),
    keyFile: Type.String({ default: '', description: 'PEM file of its key.' }),
    tenant: Type.String({
      default: 'default',
      pattern: TENANT_PATTERN,
      description: 'Tenant of the devices, when topicPattern has no {tenant}.',
    }),
    unknownDevices: Type.Union([Type.Literal('register'), Type.Literal('reject')], {
      default: 'register',
      description:
        'A device that the registry does not know: register it, or put what it says with the rejected readings. The broker vouches for who it is.',
    }),
    deviceType: Type.String({
      default: 'generic',
      pattern: DEVICE_ID_PATTERN,
      description: 'Type of devices registered here, when topicPattern has no {type}.',
    }),
    receiveMaximum: Type.Integer({
      default: 1_000,
      minimum: 1,
      maximum: 65_535,
      description:
        'Messages taken and not yet durable at once (MQTT 5 Receive Maximum): with packetBytesMax it bounds memory, and a commit gathers as many.',
    }),
    packetBytesMax: Type.Integer({
      default: 262_144,
      minimum: 1_024,
      maximum: 16_777_216,
      description: 'Bytes of one message; the broker does not send us larger ones (MQTT 5 Maximum Packet Size).',
    }),
    sessionExpiryMs: Type.Integer({
      default: 604_800_000,
      minimum: 1_000,
      maximum: 4_294_967_294_000,
      description:
        'How long the broker keeps our session, and so messages for us, while we are away, in ms; whole seconds. Seven days outlast a weekend. How many it keeps is its own setting (Mosquitto: max_queued_messages).',
    }),
    keepAliveMs: Type.Integer({
      default: 30_000,
      minimum: 1_000,
      maximum: 65_535_000,
      description: 'A broker that says nothing for one and a half times this, in ms, is taken for gone; whole seconds.',
    }),
    connectTimeoutMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 120_000,
      description: 'Longest wait for the broker’s answer to CONNECT and SUBSCRIBE, in ms.',
    }),
    reconnectInitialMs: Type.Integer({
      default: 500,
      minimum: 10,
      maximum: 60_000,
      description: 'Wait before the first new try after a connection ended, in ms; each further one is twice as long.',
    }),
    reconnectMaxMs: Type.Integer({ default: 30_000, minimum: 10, maximum: 600_000, description: 'Longest wait between two tries, in ms.' }),
    registerTimeoutMs: Type.Integer({
      default: 10_000,
      minimum: 100,
      maximum: 120_000,
      description:
        'How long a device just registered may take to be known at this door, in ms; then the connection is made anew and its message comes again.',
    }),
    stopTimeoutMs: Type.Integer({
      default: 3_000,
      minimum: 0,
      maximum: 60_000,
      description: 'How long a stop waits for messages that are being made durable, in ms; what is not acknowledged then comes again.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type MqttDoorConfig = Static<typeof MqttDoorConfigSchema>

/** Rules between settings. `section` is the dotted path of this section. */
export function crossCheckMqttDoorConfig(config: MqttDoorConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const parsed = TopicPattern.parse(config.topicPattern)
  if (parsed.status === 'invalid') {
    faults.push({ key: `${section}.topicPattern`, problem: parsed.problem, allowed: 'a pattern such as sensors/+/{device}/up' })
  }
  if ((config.certFile === '') !== (config.keyFile === '')) {
    const [given, missing] = config.certFile === '' ? ['keyFile', 'certFile'] : ['certFile', 'keyFile']
    faults.push({ key: `${section}.${missing}`, problem: `is empty while ${given} is given`, allowed: 'both or none' })
  }
  if (config.password !== '' && config.username === '') {
    faults.push({ key: `${section}.username`, problem: 'is empty while a password is given', allowed: 'a user name' })
  }
  if (config.reconnectInitialMs > config.reconnectMaxMs) {
    const problem = `${config.reconnectInitialMs} is more than reconnectMaxMs`
    faults.push({ key: `${section}.reconnectInitialMs`, problem, allowed: `at most ${config.reconnectMaxMs}` })
  }
  return faults
}
