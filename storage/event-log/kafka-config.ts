import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'
import { isAvailable } from './kafka-compression-kinds.ts'

const text = (description: string, fallback = ''): ReturnType<typeof Type.String> => Type.String({ default: fallback, description })
const milliseconds = (fallback: number, minimum: number, maximum: number, description: string): ReturnType<typeof Type.Integer> =>
  Type.Integer({ default: fallback, minimum, maximum, description: `${description} In ms.` })
const bytes = (fallback: number, minimum: number, maximum: number, description: string): ReturnType<typeof Type.Integer> =>
  Type.Integer({ default: fallback, minimum, maximum, description: `${description} In bytes.` })

const MIB = 1_048_576

/** The event log on Apache Kafka. How many partitions a topic has and how long it is kept is said per topic, by `TopicSpec`. */
export const KafkaConfigSchema = Type.Object(
  {
    brokers: Type.Array(Type.String({ pattern: '^(\\[[0-9A-Fa-f:.]+\\]|[^\\s:,/@]+):[0-9]{1,5}$' }), {
      default: ['127.0.0.1:9092'],
      minItems: 1,
      maxItems: 32,
      env: 'FLEETPULSE_KAFKA_BROKERS',
      description:
        'Addresses (host:port) of some of the brokers; the others are learned from them. In the environment separated by commas.',
    }),
    clientId: Type.String({
      default: 'fleetpulse',
      minLength: 1,
      maxLength: 100,
      description: 'Name under which this process appears in logs, quotas and metrics of the brokers.',
    }),
    instanceId: Type.String({
      default: '',
      maxLength: 120,
      pattern: '^[A-Za-z0-9._-]*$',
      description:
        'Name of this process among its like, the same after a restart and no other process’s at the same time. With it a process that was killed takes its partitions back as soon as it runs again (static membership), and its open transactions end at once; without it after sessionTimeoutMs and transactionTimeoutMs. Empty: none.',
    }),
    tls: Type.Boolean({ default: false, description: 'Speak TLS with the brokers, whose certificates are checked.' }),
    tlsCaFile: text('PEM file of the authorities that signed the certificates of the brokers. Empty: those that Node knows.'),
    tlsCertFile: text('PEM file of our certificate, for brokers that ask for one. Empty: none.'),
    tlsKeyFile: text('PEM file of the key of that certificate.'),
    saslMechanism: Type.Union([Type.Literal('none'), Type.Literal('PLAIN'), Type.Literal('SCRAM-SHA-256'), Type.Literal('SCRAM-SHA-512')], {
      default: 'none',
      description: 'How we prove who we are. PLAIN shows the password to whoever listens: use it over TLS only.',
    }),
    saslUsername: text('User name for SASL.'),
    saslPassword: Type.String({ default: '', secret: true, description: 'Password for SASL; printed masked.' }),

    replicationFactor: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 15,
      description: 'Copies of each partition of topics that are created. 3 where there are three brokers; topics that exist keep theirs.',
    }),
    minInsyncReplicas: Type.Integer({
      default: 1,
      minimum: 1,
      maximum: 15,
      description: 'Copies that must have a message before it is acknowledged. 2 with a replication factor of 3.',
    }),

    compression: Type.Union(
      [Type.Literal('none'), Type.Literal('gzip'), Type.Literal('snappy'), Type.Literal('lz4'), Type.Literal('zstd')],
      { default: 'lz4', description: 'How batches are compressed. zstd needs Node 22.15 or newer.' },
    ),
    lingerMs: milliseconds(
      0,
      0,
      1_000,
      'A batch waits this long for company. One request is in flight at a time, and what arrives meanwhile is gathered anyway; more spares processor time of Kafka and makes acknowledgements later.',
    ),
    messageBytesMax: bytes(MIB, 1_024, 16 * MIB, "One message's value, key and headers together."),
    batchBytesMax: bytes(
      2 * MIB,
      16_384,
      64 * MIB,
      'Records of one partition sent together, before compression; topics are created with this as their max.message.bytes.',
    ),
    requestBytesMax: bytes(
      8 * MIB,
      65_536,
      90 * MIB,
      'Batches of several partitions sent to the brokers at once; brokers refuse more than 100 MiB.',
    ),
    pendingBytesMax: bytes(
      64 * MIB,
      MIB,
      4_096 * MIB,
      'Appended and not yet acknowledged by Kafka; above it append rejects, so that a Kafka that is away cannot fill the memory.',
    ),
    appendTimeoutMs: milliseconds(
      30_000,
      1_000,
      600_000,
      'An append waits this long for Kafka, through retries, before it is rejected with LOG_UNAVAILABLE.',
    ),

    fetchBytesMax: bytes(4 * MIB, 65_536, 64 * MIB, 'Most that one fetch of a consumer brings; a larger batch comes whole.'),
    partitionFetchBytesMax: bytes(MIB, 65_536, 64 * MIB, 'Most that one fetch brings of one partition; a larger batch comes whole.'),
    prefetchBytes: bytes(
      MIB,
      1,
      64 * MIB,
      'A consumer that is polled fetches ahead while it holds less than this. It never holds more than this and one fetch of each broker.',
    ),
    fetchWaitMs: milliseconds(500, 10, 30_000, 'A broker with nothing new keeps a fetch for this long before it answers.'),

    sessionTimeoutMs: milliseconds(
      10_000,
      6_000,
      300_000,
      'A member of a consumer group that is not heard of for this long loses its partitions; brokers allow 6 s to 30 min by default. More than the 9 s for which a broker that was killed is kept out of its cluster, so that members outlive its restart.',
    ),
    heartbeatMs: milliseconds(
      500,
      50,
      30_000,
      'Members of a group ask the broker this often whether partitions move: a rebalance is noticed after this time at the latest.',
    ),
    rebalanceTimeoutMs: milliseconds(30_000, 1_000, 600_000, 'Members get this long to take part in a rebalance, onRevoked included.'),
    revokeTimeoutMs: milliseconds(20_000, 500, 600_000, 'onRevoked gets this long; then the partitions go to their next owner anyway.'),
    transactionTimeoutMs: milliseconds(
      10_000,
      1_000,
      900_000,
      'Kafka gives up the open transaction of a process that was killed after this time (it looks every 10 s); until then nobody reads behind it.',
    ),

    connectTimeoutMs: milliseconds(5_000, 100, 60_000, 'A connection gets this long to open, TLS and SASL included.'),
    requestTimeoutMs: milliseconds(
      10_000,
      500,
      120_000,
      'A broker that does not answer for this long is given up, and the request repeated on a new connection.',
    ),
    startTimeoutMs: milliseconds(
      10_000,
      0,
      600_000,
      'start() tries this long to reach a broker. Wrong credentials and an old broker are reported at once.',
    ),
    retryInitialMs: milliseconds(20, 1, 10_000, 'Pause before the first repetition of what failed; it doubles each time.'),
    retryMaxMs: milliseconds(1_000, 10, 60_000, 'No pause is longer.'),
    metadataMaxAgeMs: milliseconds(
      5_000,
      100,
      600_000,
      'Leaders and partitions are asked for this often; it also tells whether Kafka is there at all.',
    ),
    lagIntervalMs: milliseconds(5_000, 50, 600_000, 'The lag of every consumer group is measured this often.'),
    stopTimeoutMs: milliseconds(
      3_000,
      100,
      60_000,
      'Consumers that leave and waiting appends get this long when the log stops; appends that take longer are rejected.',
    ),
  },
  { additionalProperties: false, default: {} },
)
export type KafkaConfig = Static<typeof KafkaConfigSchema>

/** Bounds that must fit one another. `section` is the dotted path of this section. */
export function crossCheckKafkaConfig(config: KafkaConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const need = (isMet: boolean, key: keyof KafkaConfig, problem: string, allowed: string): void => {
    if (!isMet) faults.push({ key: `${section}.${key}`, problem, allowed })
  }
  const atLeast = (key: keyof KafkaConfig, least: keyof KafkaConfig, why: string): void =>
    need(
      Number(config[key]) >= Number(config[least]),
      key,
      `${String(config[key])} is less than ${least}, ${why}`,
      `at least ${String(config[least])}`,
    )
  atLeast('batchBytesMax', 'messageBytesMax', 'so the largest message would fit no batch')
  atLeast('requestBytesMax', 'batchBytesMax', 'so a full batch would fit no request')
  atLeast('pendingBytesMax', 'messageBytesMax', 'so the largest message could never be appended')
  atLeast('fetchBytesMax', 'partitionFetchBytesMax', 'so that a partition’s share could not be fetched')
  atLeast('replicationFactor', 'minInsyncReplicas', 'so nothing could ever be acknowledged')
  atLeast('appendTimeoutMs', 'requestTimeoutMs', 'so an append would never be tried twice')
  atLeast('rebalanceTimeoutMs', 'revokeTimeoutMs', 'so a member could be put out of its group while it flushes')
  atLeast('retryMaxMs', 'retryInitialMs', 'the first pause')
  need(
    config.heartbeatMs * 3 <= config.sessionTimeoutMs,
    'heartbeatMs',
    `${config.heartbeatMs} is more than a third of sessionTimeoutMs, so one late answer ends a session`,
    `at most ${Math.floor(config.sessionTimeoutMs / 3)}`,
  )
  need((config.tlsCertFile === '') === (config.tlsKeyFile === ''), 'tlsKeyFile', 'certificate and key go together', 'both or neither')
  need(config.tls || (config.tlsCaFile === '' && config.tlsCertFile === ''), 'tls', 'is off, but its files are given', 'true, or no files')
  need(
    config.saslMechanism === 'none' || (config.saslUsername !== '' && config.saslPassword !== ''),
    'saslUsername',
    'SASL needs a user name and a password',
    'both given',
  )
  need(
    isAvailable(config.compression),
    'compression',
    `${config.compression} needs Node 22.15 or newer, this is ${process.version}`,
    'lz4, snappy, gzip or none',
  )
  return faults
}
