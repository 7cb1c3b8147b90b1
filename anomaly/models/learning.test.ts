import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import { FEEDBACK_COLLECTION, FEEDBACK_INDEXES, type Feedback } from '../../contracts/feedback.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { FleetpulseError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { sleep, systemClock, VirtualClock, type Clock } from '../../kernel/time.ts'
import { DocumentsConfigSchema } from '../../storage/documents/config.ts'
import { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import { openTemporaryLog } from '../../storage/event-log/temporary-log.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import type { ModelsConfig } from './config.ts'
import { Learning } from './learning.ts'
import { LeaseHolder } from './lease.ts'
import { ModelDesk, modelNameOf } from './model-desk.ts'
import { modelId } from './model-store.ts'
import { ModelServing } from './serving.ts'
import { modelsConfig, PUMPS_START, pumpSources, testSigner } from './testing/trained-model.ts'

const ROWS = 700
const NOW_MS = PUMPS_START + ROWS * 1_000
const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-models-'))
const documentsConfig = compileSchema(DocumentsConfigSchema)({})
assert.ok(documentsConfig.status === 'valid')
const common = { log: silentLogger, random: seededRandom(1) }
const documents = new LmdbDocuments({
  ...common,
  metrics: new Metrics(),
  directory: join(folder, 'documents'),
  config: documentsConfig.value,
})
await documents.start()
const opened = await openTemporaryLog({ directory: join(folder, 'log') })
const eventLog = opened.log
await eventLog.ensureTopics([{ topic: TOPICS.anomalies, partitions: 1, retentionBytes: 0, retentionMs: 0 }])
const signer = await testSigner()
const sources = pumpSources(3, ROWS)
const acts: string[] = []
after(async () => {
  await documents.stop()
  await opened.close()
  await rm(folder, { recursive: true })
})

/** Wall time of the pumps; timers are real, so that a thread can be waited for. */
const pumpClock: Clock = { ...clockOf(), nowMs: () => NOW_MS + offsetMs }
let offsetMs = 0
function clockOf(): Clock {
  return { nowMs: () => 0, monotonicMs: () => systemClock.monotonicMs(), after: (ms, run) => systemClock.after(ms, run) }
}

function world(changes: Partial<ModelsConfig> = {}, processId = 'one') {
  const config = modelsConfig({ epochsMax: 3, leaseMs: 1_000, refreshMs: 600_000, watchEveryMs: 86_400_000, trainingShare: 1, ...changes })
  const base = { ...common, documents, eventLog, config, clock: pumpClock, metrics: new Metrics(), processId, signer }
  const desk = new ModelDesk({ ...base, hasType: (_tenant, type) => Promise.resolve(type === 'pump') })
  const serving = new ModelServing({ ...base, publicKeys: () => signer.publicKeys() })
  const learning = new Learning({
    ...{ ...base, desk, serving, alertThreshold: 0.65 },
    series: sources.series as SeriesStore,
    devicesOf: sources.devicesOf,
    anomaliesOf: sources.anomaliesOf,
    anomaly: (_tenant, id) => Promise.resolve({ explanation: { detector: 'model', detectorVersion: Number(id) } } as Anomaly),
    auditTrail: { record: (act) => Promise.resolve(void acts.push(`${act.action} ${act.subject.id}`)) },
  })
  return { desk, serving, learning }
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = systemClock.monotonicMs() + 60_000
  while (!(await isSo())) {
    if (systemClock.monotonicMs() > endMs) throw new Error(`waited in vain for ${what}`)
    await new Promise((resolve) => setImmediate(resolve))
    await sleep(systemClock, 10)
  }
}

const named = (id: string) => modelNameOf('default', id)
const hasCode = (code: string) => (error: unknown) => error instanceof FleetpulseError && error.code === code && (error.remedy ?? '') !== ''

async function alerts(): Promise<string[]> {
  const records = await eventLog.read(TOPICS.anomalies, 0, 0, 1_000)
  return records.map(({ value }) => JSON.parse(Buffer.from(value).toString()) as Anomaly).map(({ metric, phase }) => `${phase} ${metric}`)
}

test('a model is trained, put in shadow, promoted, rolled back, refused, retired', async (t) => {
  const { desk, serving, learning } = world()
  await desk.start()
  await serving.start()
  await learning.start()
  const stateOf = async (id: string): Promise<string> => (await desk.get(named(id))).state

  await t.test('a type that there is not is not trained', async () => {
    await assert.rejects(desk.train('default', 'lathe', { by: 'user:a', trigger: 'operator' }), hasCode('NOT_FOUND'))
  })
  await t.test('a training ends in shadow, with its card', async () => {
    const card = await desk.train('default', 'pump', { by: 'user:a', trigger: 'operator' })
    assert.deepEqual([card.id, card.state, card.askedBy], ['pump@1', 'queued', 'user:a'])
    await assert.rejects(desk.train('default', 'pump', { by: 'user:b', trigger: 'operator' }), hasCode('MODEL_TRAINING'))
    await assert.rejects(desk.promote(named('pump@1'), 'user:a'), hasCode('MODEL_STATE'))
    await until('the first model', async () => (await stateOf('pump@1')) === 'shadow')
    const { figures, dataset, progress } = await desk.get(named('pump@1'))
    assert.deepEqual(progress.epoch, 3)
    assert.equal(figures?.backend, 'wasm')
    assert.ok(
      figures.threshold > 0 && dataset!.learnRows > 1_000 && dataset!.devices.length === 3 && dataset!.judgeFromTs > dataset!.fromTs,
    )
    assert.deepEqual(dataset!.positions, { 0: ROWS })
  })
  await t.test('it is ready in shadow, and serves once promoted', async () => {
    await serving.refresh()
    assert.deepEqual(
      serving.served('default', 'pump').map(({ inShadow }) => inShadow),
      [true],
    )
    assert.equal((await desk.promote(named('pump@1'), 'user:a')).promotedBy, 'user:a')
    await serving.refresh()
    assert.deepEqual(
      serving.served('default', 'pump').map(({ inShadow }) => inShadow),
      [false],
    )
    await assert.rejects(desk.promote(named('pump@1'), 'user:a'), hasCode('CONFLICT'))
    await assert.rejects(desk.rollBack(named('pump@1')), hasCode('CONFLICT'))
  })
  await t.test('a second one is rolled back in one step', async () => {
    await desk.train('default', 'pump', { by: 'user:a', trigger: 'operator', seed: 9 })
    await until('the second model', async () => (await stateOf('pump@2')) === 'shadow')
    await serving.refresh()
    assert.equal(serving.served('default', 'pump').length, 2)
    await desk.promote(named('pump@2'), 'user:a')
    assert.deepEqual([await stateOf('pump@1'), await stateOf('pump@2')], ['former', 'serving'])
    assert.equal((await desk.rollBack(named('pump@2'))).id, 'pump@1')
    assert.deepEqual([await stateOf('pump@1'), await stateOf('pump@2')], ['serving', 'trained'])
  })
  await t.test('a damaged file is refused, the former model goes on, after a restart too', async () => {
    await desk.promote(named('pump@2'), 'user:a')
    const id = modelId('default', 'pump', 2)
    const bytes = Uint8Array.from((await desk.store.readFile(id))!)
    bytes[bytes.length - 1]! ^= 1
    await desk.store.writeFile(id, bytes)
    const restarted = world({}, 'two')
    await restarted.serving.start()
    assert.deepEqual(
      restarted.serving.served('default', 'pump').map(({ scorer }) => scorer.manifest.version),
      [1],
    )
    assert.equal(await stateOf('pump@2'), 'refused')
    await restarted.serving.stop()
    await learning.look()
    assert.deepEqual(await alerts(), ['raised pump: its model cannot be used'])
    await desk.rollBack(named('pump@2'))
    await learning.look()
    assert.equal((await alerts()).at(-1), 'cleared pump: its model cannot be used')
  })
  await t.test('what is retired has no file', async () => {
    assert.equal((await desk.retire(named('pump@2'))).state, 'retired')
    assert.equal(await desk.store.readFile(modelId('default', 'pump', 2)), null)
    await assert.rejects(desk.promote(named('pump@2'), 'user:a'), hasCode('MODEL_STATE'))
    assert.throws(() => modelNameOf('default', 'pump'), hasCode('INVALID_INPUT'))
  })
  await learning.stop()
  await serving.stop()
})

test('a training is cancelled after its epoch and goes on from there; another process takes it over', async () => {
  const slow = { epochsMax: 400, trainingShare: 0.5, leaseMs: 1_000 }
  const first = world(slow, 'one')
  await first.desk.start()
  await first.learning.start()
  const { id } = await first.desk.train('default', 'pump', { by: 'user:a', trigger: 'operator' })
  const card = () => first.desk.get(named(id))
  await until('an epoch', async () => (await card()).progress.epoch >= 1)
  await first.desk.cancel(named(id))
  await until('the cancelling', async () => (await first.desk.store.line('default', 'pump'))?.training === null)
  assert.equal((await card()).state, 'cancelled')
  const cancelledAt = (await card()).progress.epoch
  await first.desk.resume(named(id))
  await until('a later epoch', async () => (await card()).progress.epoch > cancelledAt)
  await first.learning.stop()
  const leftAt = (await card()).progress.epoch
  assert.equal((await card()).state, 'training', 'it waits for whoever goes on with it')
  const second = world({ ...slow, epochsMax: leftAt + 2 }, 'two')
  await second.desk.start()
  await second.learning.start()
  await until('its end', async () => (await card()).state === 'shadow')
  assert.equal((await card()).progress.epoch, leftAt + 2)
  await second.learning.stop()
})

test('too few readings, too little time and too little memory are said, and raise an alert', async () => {
  const { desk, learning } = world({ trainingRowsMin: 2_000 })
  await desk.start()
  await learning.start()
  const { id } = await desk.train('default', 'pump', { by: 'user:a', trigger: 'operator' })
  await until('its failure', async () => (await desk.store.line('default', 'pump'))?.training === null)
  assert.match((await desk.get(named(id))).why ?? '', /nothing can be trained: .* Let more devices/)
  await learning.look()
  assert.equal((await alerts()).at(-1), 'raised pump: its model could not be trained')
  await learning.stop()
  const hurried = world({ trainingTimeMs: 100, epochsMax: 10_000 })
  await hurried.desk.start()
  await hurried.learning.start()
  await hurried.desk.resume(named(id))
  await until('its end', async () => (await desk.store.line('default', 'pump'))?.training === null)
  assert.match((await desk.get(named(id))).why ?? '', /time was over|not one epoch/)
  await hurried.learning.stop()
})

test('a challenger that is better on the feedback is promoted by itself, one that is not stays', async () => {
  const { desk, serving, learning } = world({ shadowMs: 0, labelsMin: 2, retrainEveryMs: 0 })
  await desk.start()
  await learning.start()
  const { id } = await desk.train('default', 'pump', { by: 'user:a', trigger: 'operator' })
  await until('the challenger', async () => (await desk.get(named(id))).state === 'shadow')
  // Then none serves, and finding anything is better.
  await desk.retire(named('pump@1'))
  const feedback = await documents.collection<Feedback>({ name: FEEDBACK_COLLECTION, indexes: FEEDBACK_INDEXES })
  const label = (key: string, verdict: Feedback['verdict'], fromRow: number, toRow: number) =>
    feedback.put(key, {
      ...{
        id: key,
        tenant: 'default',
        device: 'pump-0',
        type: 'pump',
        metric: '',
        verdict,
        cause: '',
        note: '',
        anomaly: null,
        state: 'given',
      },
      ...{
        fromTs: PUMPS_START + fromRow * 1_000,
        toTs: PUMPS_START + toRow * 1_000,
        scope: { kind: 'device' },
        pattern: null,
        event: null,
      },
      ...{ change: null, preview: null, by: 'user:a', at: NOW_MS, updatedAt: NOW_MS + key.length },
    })
  // What is normal was called abnormal: no model finds that, so none is better.
  await label('a', 'confirmed', 100, 120)
  await label('b', 'rejected', 200, 220)
  await learning.look()
  const compared = await desk.get(named(id))
  assert.deepEqual([compared.state, compared.comparison?.better, compared.comparison?.confirmed], ['shadow', false, 1])
  // From here on the pump's readings are far from what they were.
  distort = { fromTs: PUMPS_START + 300_000, toTs: PUMPS_START + 330_000 }
  await label('ccc', 'confirmed', 300, 330)
  offsetMs += 1_000
  await learning.look()
  const promoted = await desk.get(named(id))
  assert.deepEqual([promoted.state, promoted.promotedBy, promoted.comparison?.found], ['serving', 'system', 1])
  assert.ok(acts.includes(`model.promote ${id}`))
  await learning.stop()
  await serving.stop()
})

/** A time in which every reading of the pumps is told otherwise. */
let distort = { fromTs: 0, toTs: 0 }
const range = sources.series.range
sources.series.range = async (query) => {
  const page = await range(query)
  const items = page.items.map((reading) =>
    reading.ts >= distort.fromTs && reading.ts < distort.toTs ? { ...reading, values: { ...reading.values, pressure: 50 } } : reading,
  )
  return { ...page, items }
}

test('one process has the lease until it runs out or is given back', async () => {
  const clock = new VirtualClock()
  const { desk } = world()
  await desk.start()
  const holder = (name: string) => new LeaseHolder({ leases: () => desk.store.leases, id: 'test', holder: name, leaseMs: 1_000, clock })
  const [one, two] = [holder('one'), holder('two')]
  assert.deepEqual([await one.hold(), await two.hold(), one.isHeld], [true, false, true])
  await clock.advance(999)
  assert.deepEqual([await one.hold(), await two.hold()], [true, false])
  await clock.advance(1_001)
  assert.deepEqual([one.isHeld, await two.hold(), await one.hold()], [false, true, false])
  await two.release()
  assert.equal(await one.hold(), true)
})

test('a type that the configuration names is trained the first time without being asked', async () => {
  const { desk, learning } = world({ trainFirst: ['lathe', 'other/pump'], retrainEveryMs: 0 }, 'first')
  await desk.start()
  await learning.start()
  try {
    await learning.look()
    const { items } = await desk.list({ tenant: 'other', limit: 10 })
    assert.deepEqual(
      items.map(({ id, askedBy, trigger }) => [id, askedBy, trigger]),
      [['pump@1', 'system', 'schedule']],
    )
    assert.ok(acts.includes('model.train pump@1'))
    await learning.look()
    assert.equal((await desk.list({ tenant: 'other', limit: 10 })).items.length, 1, 'once')
    await desk.cancel({ tenant: 'other', type: 'pump', version: 1 })
  } finally {
    await learning.stop()
    await desk.stop()
  }
})
