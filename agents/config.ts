import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../kernel/errors.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

/** Settings of agents and their conversations. */
export const AgentsConfigSchema = Type.Object(
  {
    turnsMax: Type.Integer({
      minimum: 4,
      maximum: 50,
      default: 12,
      description: 'turns of agents in one round about an incident, 4 to 50; then it ends with max_turns: the plan needs four or five',
    }),
    discussionTurnsMax: Type.Integer({
      minimum: 1,
      maximum: 50,
      default: 50,
      description: 'turns of agents in one round of any other conversation, 1 to 50',
    }),
    summaryTimeoutMs: Type.Integer({
      minimum: 1_000,
      maximum: 3_600_000,
      default: 2 * MINUTE_MS,
      description:
        'ms, a second to an hour: a round about an incident that has no digest by then is no longer discussed: the reporter says what is known, and has as long for it; then the round ends with timeout',
    }),
    idleTimeoutMs: Type.Integer({
      minimum: 1_000,
      maximum: DAY_MS,
      default: 30 * MINUTE_MS,
      description: 'ms, a second to a day: a conversation in which nothing happened for so long ends',
    }),
    errorsMax: Type.Integer({
      minimum: 1,
      maximum: 20,
      default: 3,
      description:
        'turns of an agent that fail one after another, 1 to 20: then the plan goes on without it, and where there is nobody else the conversation ends with consecutive_errors',
    }),
    retryTurnMs: Type.Integer({
      minimum: 0,
      maximum: 60_000,
      default: 250,
      description: 'ms, 0 to 60000, until an agent that failed is called again; each further time so much longer',
    }),
    quietTurnsMax: Type.Integer({
      minimum: 1,
      maximum: 20,
      default: 2,
      description: 'successive turns without new evidence or a new cause, 1 to 20: then nothing more is to be expected',
    }),
    similarTurnsMax: Type.Integer({
      minimum: 1,
      maximum: 20,
      default: 2,
      description: 'successive turns that say what was said before, 1 to 20: then it is a loop',
    }),
    similarityThreshold: Type.Number({
      minimum: 0.5,
      maximum: 1,
      default: 0.85,
      description:
        'likeness from 0.5 to 1 from which a text counts as said before (cosine of words, or shared runs of three words); what it cannot see, quietTurnsMax does',
    }),
    recentMax: Type.Integer({
      minimum: 1,
      maximum: 20,
      default: 5,
      description: 'latest messages that a new one is compared with, 1 to 20',
    }),
    knownMax: Type.Integer({
      minimum: 10,
      maximum: 5_000,
      default: 500,
      description: 'ids of evidence and causes remembered per round, 10 to 5000: what is beyond counts as new',
    }),
    contentLengthMax: Type.Integer({
      minimum: 1_000,
      maximum: 100_000,
      default: 16_000,
      description: 'characters of one message, 1000 to 100000',
    }),
    participantsMax: Type.Integer({ minimum: 2, maximum: 1_000, default: 50, description: 'participants of one conversation, 2 to 1000' }),
    pendingMax: Type.Integer({
      minimum: 20,
      maximum: 1_000,
      default: 200,
      description:
        'events or messages of one conversation that are not in the log yet, 20 to 1000: beyond it nothing more is said until the log takes them',
    }),
    floorLeaseMs: Type.Integer({
      minimum: 50,
      maximum: 600_000,
      default: 30_000,
      description: 'ms, 50 to 600000, that a speaker has for its turn; then another worker takes it over',
    }),
    floorRequestsMax: Type.Integer({ minimum: 2, maximum: 1_000, default: 64, description: 'requests for one floor at a time, 2 to 1000' }),
    floorJumpTickets: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 16,
      description: 'places that an agent which was called jumps ahead of those that only asked, 1 to 1000; a person jumps twice as far',
    }),
    casAttemptsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 200,
      description: 'tries of one change against others at the same conversation, 1 to 10000; then it fails as a conflict',
    }),
    turnsInFlightMax: Type.Integer({
      minimum: 1,
      maximum: 256,
      default: 16,
      description: 'turns that one process runs at a time, 1 to 256',
    }),
    dialoguesMax: Type.Integer({
      minimum: 10,
      maximum: 10_000,
      default: 500,
      description: 'conversations in one attention queue, 10 to 10000: the rest waits in the store',
    }),
    starvingMs: Type.Integer({
      minimum: 1_000,
      maximum: 600_000,
      default: 30_000,
      description: 'ms, 1000 to 600000: a conversation that waited so long comes next, whatever is more urgent',
    }),
    siteWeights: Type.Array(
      Type.Object(
        {
          site: Type.String({ maxLength: 128, description: 'label `site` of the devices' }),
          weight: Type.Integer({ minimum: 1, maximum: 100 }),
        },
        { additionalProperties: false },
      ),
      {
        maxItems: 1_000,
        default: [],
        description:
          'how many turns a site gets for each one of another where what waits is alike, 1 to 100; sites that are not named have 1',
      },
    ),
    attentionWriteMs: Type.Integer({
      minimum: 50,
      maximum: 60_000,
      default: 500,
      description: 'ms, 50 to 60000: what agents attend to is written so often while it changes, and a new focus told',
    }),
    attentionGoneMs: Type.Integer({
      minimum: 1_000,
      maximum: 3_600_000,
      default: 60_000,
      description: 'ms, 1000 to an hour: what a process that wrote nothing for so long attended to is shown no more',
    }),
    sweepIntervalMs: Type.Integer({
      minimum: 20,
      maximum: 60_000,
      default: 500,
      description: 'ms, 20 to 60000: how often conversations of other processes, expired leases and unpublished events are looked for',
    }),
    republishAfterMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 5_000,
      description: 'ms, 100 to 600000: events that may not have reached the log are appended again after so long, under the same ids',
    }),
    retentionMs: Type.Integer({
      minimum: DAY_MS,
      maximum: 3_650 * DAY_MS,
      default: 90 * DAY_MS,
      description:
        'ms, a day to ten years: closed conversations are removed after so long, and with them what was found and written about their incidents',
    }),
    eventAttemptsMax: Type.Integer({
      minimum: 2,
      maximum: 10,
      default: 3,
      description: 'tries of one event of the bus, 2 to 10; then it goes to the dead letters with its cause',
    }),
    takenRetentionMs: Type.Integer({
      minimum: DAY_MS,
      maximum: 365 * DAY_MS,
      default: 7 * DAY_MS,
      description: 'ms, a day to a year: so long it is known which events had their effect, so that one that comes again has none',
    }),
    replayRecordsMax: Type.Integer({
      minimum: 100,
      maximum: 1_000_000,
      default: 20_000,
      description: 'records of the bus that one request reads again, 100 to 1000000; it answers where to go on',
    }),
    batchRecordsMax: Type.Integer({
      minimum: 1,
      maximum: 10_000,
      default: 500,
      description: 'events taken from the log at a time, 1 to 10000',
    }),
    pollWaitMs: Type.Integer({
      minimum: 10,
      maximum: 60_000,
      default: 1_000,
      description: 'ms, 10 to 60000: longest wait of one poll of the log; new records end it earlier',
    }),
    retryInitialMs: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 100,
      description: 'ms, 1 to 60000: first wait when a store or the log fails; doubles each time',
    }),
    retryMaxMs: Type.Integer({
      minimum: 1,
      maximum: 600_000,
      default: 10_000,
      description: 'ms, retryInitialMs to 600000: longest such wait',
    }),
    searchScanMax: Type.Integer({
      minimum: 100,
      maximum: 100_000,
      default: 1_000,
      description: 'conversations looked through for words at a time, 100 to 100000; the page says where to go on',
    }),
    pageItemsMax: Type.Integer({ minimum: 1, maximum: 1_000, default: 200, description: 'items one page of a list may hold, 1 to 1000' }),
  },
  { additionalProperties: false, default: {} },
)
export type AgentsConfig = Static<typeof AgentsConfigSchema>

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckAgentsConfig(config: AgentsConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const atLeast = (key: keyof AgentsConfig, least: number, other: string): void => {
    if (Number(config[key]) >= least) return
    faults.push({ key: `${section}.${key}`, problem: `${Number(config[key])} is less than ${other}`, allowed: `at least ${least}` })
  }
  atLeast('retryMaxMs', config.retryInitialMs, 'retryInitialMs')
  atLeast('attentionGoneMs', 4 * config.attentionWriteMs, 'four times attentionWriteMs')
  atLeast('idleTimeoutMs', config.floorLeaseMs, 'floorLeaseMs')
  atLeast('summaryTimeoutMs', config.floorLeaseMs, 'floorLeaseMs')
  return faults
}
