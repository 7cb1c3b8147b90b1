import { Type, type Static } from 'typebox'

/** Config fragment of the packet check; the broker's config joins it under the key `packets`. Every bound is per connection. */
export const packetLimitsSchema = Type.Object(
  {
    packetBytesMax: Type.Integer({
      minimum: 128,
      maximum: 268_435_460,
      default: 262_144,
      description:
        'Largest MQTT packet accepted, fixed header included, in bytes. Bounds what one device can make the broker hold; the protocol itself would allow 256 MiB.',
    }),
    bufferedBytesMax: Type.Integer({
      minimum: 1_024,
      maximum: 268_435_460,
      default: 262_144,
      description:
        'Checked bytes, in bytes, that may wait for the broker before the socket is read no further. Until then pings behind a slow publish are still answered. May be passed by one read of the socket (64 KiB).',
    }),
    inflightMax: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 256,
      description:
        'QoS 1 and 2 publishes of a device, in packets, that are being processed at once. The next ones wait in the buffer above and then in the network; none is dropped.',
    }),
    subscriptionsPerSubscribeMax: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 256,
      description: 'Topic filters in one SUBSCRIBE or UNSUBSCRIBE. Each costs an authorisation and a store write at once.',
    }),
    topicLevelsMax: Type.Integer({
      minimum: 1,
      maximum: 96,
      default: 64,
      description:
        'Levels (parts between slashes) of a topic name or filter. The matcher inside the broker throws above 100; four are left for a tenant prefix.',
    }),
    topicBytesMax: Type.Integer({
      minimum: 16,
      maximum: 60_000,
      default: 2_048,
      description:
        'Length of a topic name or filter, in bytes of UTF-8. Routing and storing cost grows with it; the protocol would allow 65535, of which some is left for a tenant prefix.',
    }),
    clientIdBytesMax: Type.Integer({
      minimum: 23,
      maximum: 60_000,
      default: 256,
      description: 'Length of a client id, in bytes of UTF-8. It is the key of every stored session; the protocol asks for at least 23.',
    }),
    connectTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 10_000,
      description: 'How long, in ms, a connection may stay without having sent a whole CONNECT before it is closed.',
    }),
    keepAliveMaxS: Type.Integer({
      minimum: 1,
      maximum: 65_535,
      default: 65_535,
      description:
        'Longest keep alive honoured, in s; also used for devices that ask for none (0), so that no dead connection stays for ever. The default is the longest the protocol can express.',
    }),
    closeGraceMs: Type.Integer({
      minimum: 0,
      maximum: 60_000,
      default: 1_000,
      description:
        'How long, in ms, a connection that is ending may take to get the answers it is still owed, and then to close from its side, before it is cut.',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type PacketLimits = Static<typeof packetLimitsSchema>
