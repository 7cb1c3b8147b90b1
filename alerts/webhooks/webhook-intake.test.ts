import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { openEngines, until, type Engines } from '../alerts-testing.ts'
import type { Notifiers } from '../notifiers/notifiers.ts'
import { DeliveryOutbox } from './delivery-outbox.ts'
import type { DeliveryDocument, EndpointDocument } from './webhook-documents.ts'
import { WebhookIntake } from './webhook-intake.ts'
import type { WebhookStore } from './webhook-store.ts'
import { change, changeMessage, webhooksConfig } from './webhooks-testing.ts'

/* The way from a change to its deliveries, over a store that takes its time. */

let engines: Engines
let intake: WebhookIntake
let written: DeliveryDocument[]
let [made, heldMost]: [number, number] = [0, 0]
beforeEach(async () => {
  engines = await openEngines(1)
  written = []
  ;[made, heldMost] = [0, 0]
})
afterEach(async () => {
  await intake.stop()
  await engines.dispose()
})

async function start(endpoints: Pick<EndpointDocument, 'id' | 'ordered'>[], takesMs: () => number): Promise<void> {
  const documents = endpoints.map((each) => ({ ...each, tenant: 'default', events: ['alert.opened'], template: null }))
  const store = {
    endpoints: { find: async () => documents },
    deliveries: {
      insert: async (_id: string, document: DeliveryDocument) => {
        const waitMs = takesMs()
        if (waitMs > 0) await sleep(systemClock, waitMs)
        written.push(document)
        return { status: 'written', document }
      },
    },
    pendingCount: async () => 0,
  } as unknown as WebhookStore
  const notifiers = {
    write: () => {
      heldMost = Math.max(heldMost, ++made - written.length)
      return { body: '{}', templateError: null }
    },
  } as unknown as Notifiers
  const around = { eventLog: engines.eventLog, clock: systemClock, random: seededRandom(1), log: silentLogger, metrics: new Metrics() }
  const queue = { reserve: () => null, wake: () => undefined }
  const outbox = new DeliveryOutbox({ ...around, store, queue, notifiers, config: webhooksConfig() })
  intake = new WebhookIntake({ ...around, store, outbox, routing: { endpointsFor: () => [] }, config: webhooksConfig() })
  await intake.start()
}

test('deliveries of an endpoint that wants order are written in it, one after the other', async () => {
  const random = seededRandom(5)
  await start([{ id: 'ordered', ordered: true }, { id: 'any' }], () => Math.floor(random.next() * 4))
  const changes = Array.from({ length: 60 }, () => change())
  await engines.eventLog.append('alerts', changes.map(changeMessage))
  await until('all are written', () => written.length === 120)
  const of = (endpointId: string) => written.filter((each) => each.endpointId === endpointId).map(({ alertId }) => alertId)
  const wanted = changes.map(({ alert }) => alert.id)
  assert.deepEqual(of('ordered'), wanted)
  assert.notDeepEqual(of('any'), wanted, 'others do not wait for each other')
})

test('a batch of changes for many endpoints is never in memory as a whole', async () => {
  await start(
    Array.from({ length: 100 }, (_, i) => ({ id: `endpoint-${i}` })),
    () => 0,
  )
  await engines.eventLog.append('alerts', Array.from({ length: 150 }, () => change()).map(changeMessage))
  await until('all are written', () => written.length === 15_000)
  assert.ok(heldMost <= 1_100, `${heldMost} at a time`)
})
