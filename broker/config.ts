import { Type, type Static } from 'typebox'
import { edgesConfigSchema } from './edges/config.ts'
import { packetLimitsSchema } from './packets/limits.ts'

const portMax = 65_535

/** Section `broker` of the configuration. */
export const brokerConfigSchema = Type.Object(
  {
    host: Type.String({
      minLength: 1,
      default: '::',
      description:
        'Address both device listeners bind. Devices are other machines, so the default is every address, IPv6 and IPv4 (0.0.0.0 where the machine has no IPv6); nothing is reachable without a certificate of ours.',
    }),
    mqttsPort: Type.Integer({
      minimum: 0,
      maximum: portMax,
      default: 8883,
      env: 'FLEETPULSE_MQTTS_PORT',
      description: 'TCP port of MQTT over TLS; 0 takes any free one. 8883 is the registered port of MQTT over TLS.',
    }),
    wssPort: Type.Integer({
      minimum: 0,
      maximum: portMax,
      default: 8884,
      env: 'FLEETPULSE_WSS_PORT',
      description: 'TCP port of MQTT over secure WebSocket (any path, subprotocol mqtt); 0 takes any free one.',
    }),
    handshakeTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 120_000,
      default: 10_000,
      description:
        'Longest TLS handshake (and WebSocket upgrade after it), in ms. A slow radio link needs 2 to 3 s; a stalled peer costs a socket.',
    }),
    connectionsMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 10_000,
      description: 'Connections at once, both listeners together, handshakes included. About 60 KB each: 600 MB at the default.',
    }),
    connectionsPerDeviceMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 64,
      description:
        'Connections of one device at once, before and after CONNECT. A device needs two while one takes over from the other; one that restarts in a loop may have more half open.',
    }),
    connectionsPerClaimMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 256,
      description:
        'Connections at once with one claim certificate, which a whole production batch shares: as many devices as are being provisioned at one moment.',
    }),
    claimRequestsMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 1_000,
      description: 'Requests of claims being decided at once, all connections together; a device beyond them is told to come again.',
    }),
    connectRatePerS: Type.Number({
      minimum: 0.1,
      maximum: 100_000,
      default: 200,
      description: 'Connections accepted from one address, per second, in the long run. A handshake costs about 1 ms of CPU here.',
    }),
    connectBurstMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 1_000,
      description: 'Connections accepted from one address at once: a fleet behind one router that comes back after a power cut.',
    }),
    publishRatePerS: Type.Number({
      minimum: 0.1,
      maximum: 1_000_000,
      default: 4_000,
      description:
        'Publishes of one device, per second, in the long run. Above it the device is read no faster (nothing is dropped). Twice the 2 000 a device may count on, so that jitter never slows one that keeps to them.',
    }),
    publishBurstMax: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 8_000,
      description: 'Publishes a device may send at once after a pause, before publishRatePerS holds: two seconds of it.',
    }),
    inboundQos2Max: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 1_000,
      description:
        'QoS 2 publishes of one session received and not yet released by PUBREL. Each is a stored packet; one more closes the connection.',
    }),
    subscriptionsPerSessionMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 100,
      description: 'Topic filters one session may hold; one more is answered 0x80. A device knows five kinds of topic.',
    }),
    sessionsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000_000,
      default: 100_000,
      description: 'Persistent sessions kept, connected or not, about 1 KB of memory each. A new one over it is refused with CONNACK 3.',
    }),
    sessionExpiryMs: Type.Integer({
      minimum: 1_000,
      maximum: 31_536_000_000,
      default: 604_800_000,
      description:
        'A persistent session not connected for so long, in ms, is forgotten with its queue. Seven days outlast a weekend without power.',
    }),
    sessionSweepMs: Type.Integer({
      minimum: 10,
      maximum: 86_400_000,
      default: 60_000,
      description: 'How often expired sessions are looked for, in ms. Expiry is late by at most this.',
    }),
    queueMessagesMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 1_000,
      description:
        'QoS 1 and 2 messages waiting for one session. The newest is refused when it is full, counted and logged; what was promised stays.',
    }),
    queuesBytesMax: Type.Integer({
      minimum: 65_536,
      maximum: 68_719_476_736,
      default: 134_217_728,
      description: 'Messages waiting for all sessions together, in bytes; they are held in memory too. As queueMessagesMax when reached.',
    }),
    retainedPerDeviceMax: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 64,
      description:
        'Retained messages under one device. One more is not kept (its publish is still delivered and acknowledged), counted and logged.',
    }),
    retainedBytesPerDeviceMax: Type.Integer({
      minimum: 1_024,
      maximum: 1_073_741_824,
      default: 524_288,
      description: 'Retained messages under one device, in bytes: room for one of the largest packets and its neighbours.',
    }),
    retainedBytesMax: Type.Integer({
      minimum: 65_536,
      maximum: 68_719_476_736,
      default: 134_217_728,
      description: 'Retained messages of all devices, in bytes; they are held in memory too.',
    }),
    drainTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 20_000,
      description:
        'A device that reads nothing for so long, in ms, while something is being sent to it is disconnected; its queue waits for it.',
    }),
    refusalLogsPerS: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 10,
      description:
        'Refusals logged per reason and second; the rest are counted and summed up in one line, so that a storm cannot fill the disk.',
    }),
    stopTimeoutMs: Type.Integer({
      minimum: 0,
      maximum: 60_000,
      default: 3_000,
      description: 'How long, in ms, a stop waits for publishes that are being made durable, so that their acknowledgements still leave.',
    }),
    uplinkBytesMax: Type.Integer({
      minimum: 65_536,
      maximum: 68_719_476_736,
      default: 134_217_728,
      description:
        'Bytes read from devices and not made durable yet, all connections together, 1 KiB per publish included. Above it sockets that bring more are read no further, pings in them neither: it bounds the memory of an edge whose event log is away. At the usual pace a few MB are under way.',
    }),
    uplinkRetryInitialMs: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 100,
      description: 'First pause, in ms, before a publish is tried again that the event log did not take; doubled with each try.',
    }),
    uplinkRetryMaxMs: Type.Integer({
      minimum: 1,
      maximum: 600_000,
      default: 2_000,
      description: 'Longest pause, in ms, between two tries: how late, at most, the return of the event log is noticed.',
    }),
    uplinkSlowMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 5_000,
      description: 'The event log counts as unavailable when it has not answered for so long, in ms. A commit takes milliseconds.',
    }),
    edges: edgesConfigSchema,
    packets: packetLimitsSchema,
    lab: Type.Object(
      {
        port: Type.Union([Type.Integer({ minimum: 0, maximum: portMax }), Type.Null()], {
          default: null,
          env: 'FLEETPULSE_LAB_MQTT_PORT',
          description:
            'Port of the conformance listener: plain MQTT, no topic policy, nothing ingested, for protocol test suites. Null: closed.',
        }),
        host: Type.String({
          default: '127.0.0.1',
          env: 'FLEETPULSE_LAB_MQTT_HOST',
          description: 'Address of the conformance listener. It lets anyone in, so 127.0.0.1 is the only one accepted.',
        }),
        denySubscribe: Type.Union([Type.String({ minLength: 1 }), Type.Null()], {
          default: null,
          env: 'FLEETPULSE_LAB_DENY_SUBSCRIBE',
          description: 'A topic filter the conformance listener answers with 0x80, for suites that test a refused subscription.',
        }),
      },
      { additionalProperties: false, default: {} },
    ),
  },
  { additionalProperties: false },
)

export type BrokerConfig = Static<typeof brokerConfigSchema>
export type LabConfig = BrokerConfig['lab']
