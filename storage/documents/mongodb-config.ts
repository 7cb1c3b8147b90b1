import { Type, type Static } from 'typebox'

const DAY_MS = 86_400_000

/** Settings of the documents store on MongoDB (section `mongodb`). What a document may hold is bounded in section `documents`, on every engine. */
export const MongodbConfigSchema = Type.Object(
  {
    url: Type.String({
      default: 'mongodb://127.0.0.1:27017',
      pattern: '^mongodb(\\+srv)?://.+',
      secret: true,
      description: 'Connection string; may carry user and password (printed masked) and options of its own, replicaSet or authSource say.',
    }),
    database: Type.String({
      default: 'fleetpulse',
      pattern: '^[A-Za-z0-9_-]{1,63}$',
      description: 'Database of all collections; every process of one platform names the same one.',
    }),
    tls: Type.Boolean({
      default: false,
      description: 'Speak TLS; also when the connection string says tls=true or begins with mongodb+srv.',
    }),
    tlsCaFile: Type.String({
      default: '',
      description: "PEM file of the authorities that the server's certificate may come from; empty for those that Node knows.",
    }),
    tlsCertificateKeyFile: Type.String({
      default: '',
      description: 'PEM file with certificate and key of this client, for servers that ask for one; empty for none.',
    }),
    poolSizeMax: Type.Integer({
      default: 20,
      minimum: 1,
      maximum: 1_000,
      description: 'Connections to one server. A collection has one batch of writes in flight; searches take the others.',
    }),
    serverSelectionTimeoutMs: Type.Integer({
      default: 3_000,
      minimum: 100,
      maximum: 60_000,
      description:
        'Longest wait, in ms, for a server that takes writes; a change of primary usually takes less than 12 s, and callers try again.',
    }),
    connectTimeoutMs: Type.Integer({
      default: 3_000,
      minimum: 100,
      maximum: 60_000,
      description: 'Longest wait for one connection, TLS and authentication included, in ms.',
    }),
    requestTimeoutMs: Type.Integer({
      default: 20_000,
      minimum: 500,
      maximum: 600_000,
      description: 'Longest silence of a server that was asked something, in ms; then its answer counts as lost.',
    }),
    majorityTimeoutMs: Type.Integer({
      default: 10_000,
      minimum: 500,
      maximum: 600_000,
      description:
        'Longest wait, in ms, until a majority of a replica set has a write; below requestTimeoutMs. Later it counts as not answered.',
    }),
    indexTimeoutMs: Type.Integer({
      default: 600_000,
      minimum: 1_000,
      maximum: DAY_MS,
      description: 'Longest time to build the indexes of one collection that holds documents already, in ms.',
    }),
    heartbeatMs: Type.Integer({
      default: 2_000,
      minimum: 500,
      maximum: 60_000,
      description: 'How often an idle process looks whether the server is there, in ms; bounds how late /readyz tells.',
    }),
    attemptsMax: Type.Integer({
      default: 3,
      minimum: 1,
      maximum: 20,
      description:
        'Tries of one request whose failure may pass, before the caller is told (every caller in the platform tries again by itself).',
    }),
    retryDelayMs: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 10_000,
      description: 'Wait before the second try, in ms; doubled for each further one, with jitter.',
    }),
    racesMax: Type.Integer({
      default: 200,
      minimum: 1,
      maximum: 100_000,
      description: 'How often one write may be overtaken by other processes on its document before it is given back as retryable.',
    }),
    batchDocumentsMax: Type.Integer({
      default: 1_000,
      minimum: 1,
      maximum: 10_000,
      description: 'Writes of one collection that go to the server in one request. More gain nothing and make each wait longer.',
    }),
    waitingWritesMax: Type.Integer({
      default: 50_000,
      minimum: 100,
      maximum: 1_000_000,
      description:
        'Writes of one collection that may wait for their turn; more are refused with LIMIT_REACHED. Bounds memory while the server is slow.',
    }),
    drainTimeoutMs: Type.Integer({
      default: 3_000,
      minimum: 0,
      maximum: 60_000,
      description: 'How long a stop waits for writes under way, in ms; below platform.stopTimeoutMs.',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type MongodbConfig = Static<typeof MongodbConfigSchema>
