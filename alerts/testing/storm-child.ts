import { join } from 'node:path'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { every, systemClock } from '../../kernel/time.ts'
import { DocumentsConfigSchema } from '../../storage/documents/config.ts'
import { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import { EventLogConfigSchema } from '../../storage/event-log/config.ts'
import { LmdbEventLog } from '../../storage/event-log/lmdb-event-log.ts'
import { Alerts } from '../alerts.ts'
import { alertsConfig, anomaly, anomalyMessage, noFacts, operator, T0 } from '../alerts-testing.ts'
import { webhooksConfig } from '../webhooks/webhooks-testing.ts'
import { Webhooks } from '../webhooks/webhooks.ts'

/*
 * storm-child.js FOLDER ALERTS PER_SECOND URL: the alert worker and the webhooks on engines in FOLDER. It appends what is missing of a storm
 * of anomalies, one device each, of one cause, and goes on until it is killed. What it is made of is on disk: started again it goes on.
 */

const [folder = '', alertsText = '0', perSecondText = '0', url = ''] = process.argv.slice(2)
const [count, perSecond] = [Number(alertsText), Number(perSecondText)]
const TURN_MS = 50

function valid<T>(result: { status: 'valid'; value: T } | { status: 'invalid'; faults: unknown }): T {
  if (result.status === 'invalid') throw new TypeError(JSON.stringify(result.faults))
  return result.value
}

const common = { clock: systemClock, random: systemRandom, log: silentLogger, metrics: new Metrics() }
const documents = new LmdbDocuments({
  ...common,
  directory: join(folder, 'documents'),
  config: valid(compileSchema(DocumentsConfigSchema)({})),
})
const logConfig = valid(compileSchema(EventLogConfigSchema)({}))
const eventLog = new LmdbEventLog({ ...common, directory: join(folder, 'log'), config: logConfig, topicPrefix: '' })
await documents.start()
await eventLog.start()
await eventLog.ensureTopics(
  ['anomalies', 'alerts', 'anomalies.dlq', 'alerts.dlq'].map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })),
)
const alerts = new Alerts({ ...common, documents, eventLog, facts: noFacts, config: alertsConfig({ pollWaitMs: 100 }) })
// A receiver that was killed is tried again soon, so that a round is short.
const soon = { retryInitialMs: 200, retryFactor: 1, retryJitter: 0.2, attemptsMax: 100, breakerOpenMs: 1_000, rescanIntervalMs: 1_000 }
const webhooks = new Webhooks({
  ...{ ...common, documents, eventLog },
  config: webhooksConfig({
    ...soon,
    totalTimeoutMs: 2_000,
    headersTimeoutMs: 2_000,
    allowHttp: true,
    allowPrivateTargets: true,
    pollWaitMs: 100,
    pendingPerEndpointMax: 1_000_000,
  }),
})
await webhooks.start()
await alerts.start()
if ((await webhooks.service.list(operator)).items.length === 0)
  await webhooks.service.create(operator, { url, events: ['alert.opened', 'incident.opened'] })

// Timers alone let a process end; the parent's channel holds this one until the parent goes.
process.on('message', () => undefined)
let appended = [...(await eventLog.bounds('anomalies')).values()].reduce((sum, { next }) => sum + next, 0)
every(
  systemClock,
  TURN_MS,
  async () => {
    const until = Math.min(count, appended + Math.ceil((perSecond * TURN_MS) / 1_000))
    const turn = Array.from({ length: until - appended }, (_, i) => stormAnomaly(appended + i))
    if (turn.length > 0) await eventLog.append('anomalies', turn.map(anomalyMessage))
    appended = until
    process.send?.({ appended, rssBytes: process.memoryUsage.rss() })
  },
  (error) => {
    throw error
  },
)

function stormAnomaly(n: number) {
  const device = `device-${n}`
  return anomaly({
    id: `storm-${n}`,
    device,
    metric: '',
    cause: 'silence',
    type: `type-${n % 7}`,
    ts: T0 + n,
    receivedAt: systemClock.nowMs(),
  })
}
