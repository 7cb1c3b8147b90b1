import { Type, type Static } from 'typebox'

const milliseconds = (fallback: number, minimum: number, maximum: number, description: string): ReturnType<typeof Type.Integer> =>
  Type.Integer({ default: fallback, minimum, maximum, description: `${description} In ms.` })

/** Settings of the series store on QuestDB (section `questdb`). */
export const QuestdbConfigSchema = Type.Object(
  {
    httpUrl: Type.String({
      default: 'http://127.0.0.1:9000',
      pattern: '^https?://[^/]+/?$',
      secret: true,
      description: 'Where readings are sent (line protocol over HTTP). May carry user and password, printed masked; https speaks TLS.',
    }),
    pgUrl: Type.String({
      default: 'postgres://127.0.0.1:8812/qdb',
      pattern: '^postgres(ql)?://[^/]+(/.*)?$',
      secret: true,
      description: 'Where queries are sent (PostgreSQL wire protocol). May carry user and password, printed masked.',
    }),
    username: Type.String({ default: 'admin', maxLength: 200, description: 'User where an URL carries none; QuestDB comes with admin.' }),
    password: Type.String({
      default: 'quest',
      maxLength: 1_000,
      secret: true,
      description: 'Password where an URL carries none; QuestDB comes with quest, and wants another before anyone else can reach it.',
    }),
    pgTls: Type.Boolean({
      default: false,
      description: 'Speak TLS on the PostgreSQL wire; QuestDB itself does so in its Enterprise edition only.',
    }),
    tlsCaFile: Type.String({
      default: '',
      description: 'PEM file of the authorities that signed the certificate of the server. Empty: those that Node knows.',
    }),
    tablePrefix: Type.String({
      default: 'fleetpulse_',
      pattern: '^[a-z][a-z0-9_]{0,30}$',
      description: 'Beginning of the names of all our tables; two platforms on one server need two.',
    }),
    partitionBy: Type.Union(
      [Type.Literal('HOUR'), Type.Literal('DAY'), Type.Literal('WEEK'), Type.Literal('MONTH'), Type.Literal('YEAR')],
      {
        default: 'DAY',
        description:
          'Event time that one partition of a new table holds; partitions are what retention removes from disk. Tables that exist keep theirs.',
      },
    ),
    ttl: Type.String({
      default: 'none',
      pattern: '^(none|[1-9][0-9]{0,4} (HOURS|DAYS|WEEKS|MONTHS|YEARS))$',
      description:
        'After how long QuestDB itself drops partitions of new tables: by EVENT time, a multiple of partitionBy. A replayed old recording would vanish at once, so none by default; retention by receipt works without it.',
    }),
    columnsMax: Type.Integer({
      default: 512,
      minimum: 1,
      maximum: 4096,
      description: 'Metric columns of one device type; ingest refuses further metrics before this is reached.',
    }),
    requestBytesMax: Type.Integer({
      default: 8 * 1_048_576,
      minimum: 65_536,
      maximum: 256 * 1_048_576,
      description:
        'Bytes of one request of readings; a larger write goes in several, each of them one commit. About 180 bytes a reading of two metrics. A buffer of this size is kept.',
    }),
    requestTimeoutMs: milliseconds(30_000, 100, 600_000, 'Longest wait for the answer to a request of readings; it is then sent again.'),
    connectTimeoutMs: milliseconds(3_000, 50, 60_000, 'Longest wait for a connection.'),
    writeAttemptsMax: Type.Integer({
      default: 3,
      minimum: 1,
      maximum: 100,
      description: 'Tries of one request whose failure may pass, before the caller is told (who tries again by itself).',
    }),
    writeRetryInitialMs: milliseconds(100, 1, 60_000, 'Wait before the second try, doubled for each further one.'),
    writeRetryMaxMs: milliseconds(2_000, 1, 600_000, 'Longest wait between two tries.'),
    writeQueueMax: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 10_000,
      description: 'Writes and retention steps waiting for their turn; a caller that does not wait for its writes is refused beyond it.',
    }),
    readConnections: Type.Integer({
      default: 4,
      minimum: 1,
      maximum: 60,
      description: 'Connections for queries; QuestDB takes 64 in all unless told otherwise (pg.net.connection.limit).',
    }),
    readQueueMax: Type.Integer({
      default: 256,
      minimum: 0,
      maximum: 100_000,
      description: 'Statements waiting for a connection; further ones are refused, so that memory stays bounded under a storm of requests.',
    }),
    queryTimeoutMs: milliseconds(
      10_000,
      10,
      600_000,
      'After this QuestDB gives a query up, because it takes processor time from the writes.',
    ),
    appliedTimeoutMs: milliseconds(
      10_000,
      1,
      600_000,
      'Longest wait until the tables show every write that was resolved before; asking for identities fails (retryable) after it.',
    ),
    readWaitMs: milliseconds(
      500,
      0,
      60_000,
      'Longest wait of any other query for the writes of this process; it is answered without them after it.',
    ),
    catalogueMaxAgeMs: milliseconds(
      1_000,
      0,
      60_000,
      'How old the list of types and metrics, and the bound of retention, may be: as long a query may miss a metric that another process has just begun.',
    ),
    healthMs: milliseconds(5_000, 50, 600_000, 'How often tables are checked for a suspended log or an invalid view.'),
    rangeLimitMax: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 100_000,
      description: 'Readings of one page; a larger limit gets a page of this size and a cursor for the rest.',
    }),
    bucketsMax: Type.Integer({
      default: 10_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'Non-empty buckets of one downsampled answer; wider ones must be asked for beyond it.',
    }),
    rollups: Type.Boolean({
      default: true,
      description:
        'Keep one-minute roll-ups (materialized views) of metrics that are downsampled over long times, made when first asked for.',
    }),
    rollupsMax: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 10_000,
      description:
        'Roll-ups of all types together; each takes disk and, when refreshed, processor time. Metrics beyond it are computed from readings.',
    }),
    rollupMinRangeMs: milliseconds(
      3 * 3_600_000,
      60_000,
      315_360_000_000,
      'Shortest time asked for that a roll-up is made or used for; shorter ones are as quick from the readings.',
    ),
    rollupRefreshMinutes: Type.Integer({
      default: 10,
      minimum: 1,
      maximum: 1_440,
      description: 'Minutes between refreshes of a roll-up; one that is asked for is refreshed at once.',
    }),
    rollupWaitMs: milliseconds(1_000, 1, 60_000, 'Longest wait for that refresh; after it the answer is computed from the readings.'),
    stopTimeoutMs: milliseconds(3_000, 0, 60_000, 'How long a stop waits for queries under way; below platform.stopTimeoutMs.'),
  },
  { additionalProperties: false, default: {} },
)

export type QuestdbConfig = Static<typeof QuestdbConfigSchema>
