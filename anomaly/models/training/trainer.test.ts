import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { silentLogger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { seededRandom } from '../../../kernel/random.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { systemClock, VirtualClock } from '../../../kernel/time.ts'
import { DocumentsConfigSchema } from '../../../storage/documents/config.ts'
import { LmdbDocuments } from '../../../storage/documents/lmdb-documents.ts'
import { eraseTraces } from '../../erasing.ts'
import { ModelDesk } from '../model-desk.ts'
import { modelsConfig, PUMPS_START, pumpSources, testSigner } from '../testing/trained-model.ts'
import { KeptProgress } from './kept-progress.ts'
import { Trainer } from './trainer.ts'
import type { Checkpoint } from './training.ts'

const ROWS = 300
const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-trainer-'))
const documentsConfig = compileSchema(DocumentsConfigSchema)({})
assert.ok(documentsConfig.status === 'valid')
const common = { log: silentLogger, metrics: new Metrics(), random: seededRandom(1) }
const documents = new LmdbDocuments({ ...common, directory: folder, config: documentsConfig.value })
await documents.start()
after(async () => {
  await documents.stop()
  await rm(folder, { recursive: true })
})
const config = modelsConfig({ epochsMax: 1, trainingShare: 1, backend: 'cpu' })
const clock = { ...systemClock, monotonicMs: () => systemClock.monotonicMs(), nowMs: () => PUMPS_START + ROWS * 1_000 }
const desk = new ModelDesk({ documents, config, clock, hasType: () => Promise.resolve(true) })
await desk.start()

test('devices that are erased while a training reads, or learns, are not named on its card', async () => {
  const sources = pumpSources(2, ROWS)
  const { range } = sources.series
  let isErased = false
  sources.series.range = async (query) => {
    // The first pump is read by now.
    if (query.device === 'pump-1' && !isErased) {
      isErased = true
      assert.deepEqual(await eraseTraces(documents, 'default', 'pump-0'), { modelCards: 0, peerSummaries: 0 })
    }
    return range(query)
  }
  await desk.train('default', 'pump', { by: 'user:a', trigger: 'operator' })
  const line = await desk.store.line('default', 'pump')
  const trainer = new Trainer({ ...common, store: desk.store, sources, signer: await testSigner(), config, clock })
  const erased: unknown[] = []
  const goOn = async (): Promise<boolean> => erased.push(await eraseTraces(documents, 'default', 'pump-1')) > 0
  await trainer.train(line!, goOn, new AbortController().signal)
  const { state, dataset, progress } = await desk.get({ tenant: 'default', type: 'pump', version: 1 })
  assert.deepEqual([state, progress.epoch], ['shadow', 1])
  assert.deepEqual(dataset?.devices.map(({ device }) => device).sort(), ['erased', 'erased'])
  const stored = await desk.store.card('default', 'pump', 1)
  assert.doesNotMatch(JSON.stringify(stored), /pump-\d/)
  assert.deepEqual(erased[0], { modelCards: 1, peerSummaries: 0 })
})

test('the first epoch is kept, then one each so often, and the last; cancelling is heard after each', async () => {
  await desk.train('default', 'lathe', { by: 'user:a', trigger: 'operator' })
  const time = new VirtualClock()
  const card = await desk.store.card('default', 'lathe', 1)
  const keeping = { store: desk.store, config: { ...config, checkpointEveryMs: 1_000 }, clock: time, card, sha256: 'sum' }
  const progress = new KeptProgress(keeping)
  const epoch = (number: number): Checkpoint => {
    const weights = Float32Array.of(number)
    return { epoch: number, weights, optimizer: weights, best: { epoch: number, loss: 1, weights }, losses: [1] }
  }
  const keptEpoch = async (): Promise<number | undefined> => (await new KeptProgress(keeping).read())?.epoch
  assert.equal(await progress.read(), null)
  assert.deepEqual([await progress.reached(epoch(1)), await keptEpoch()], [false, 1])
  await time.advance(999)
  assert.deepEqual([await progress.reached(epoch(2)), await keptEpoch()], [false, 1])
  await time.advance(1)
  assert.deepEqual([await progress.reached(epoch(3)), await keptEpoch()], [false, 3])
  await desk.cancel({ tenant: 'default', type: 'lathe', version: 1 })
  assert.deepEqual([await progress.reached(epoch(4)), await keptEpoch()], [true, 3])
  await progress.keepLast()
  assert.equal(await keptEpoch(), 4)
  assert.deepEqual((await desk.get({ tenant: 'default', type: 'lathe', version: 1 })).progress, {
    epoch: 4,
    epochsMax: 1,
    loss: 1,
    trainedMs: 1_000,
  })
})

test('an order stands, though a trainer looked before its card was there', async () => {
  const name = { tenant: 'default', type: 'mill', version: 1 }
  const own = { ...common, metrics: new Metrics(), sources: pumpSources(1, 10), signer: await testSigner() }
  const trainer = new Trainer({ ...own, store: desk.store, config, clock })
  const { cards } = desk.store
  const lineOf = () => desk.store.line(name.tenant, name.type)
  const looks = async (): Promise<void> => {
    const line = await lineOf()
    assert.equal(line?.training, 1)
    await trainer.train(line, () => Promise.resolve(true), new AbortController().signal)
    assert.equal((await lineOf())?.training, null, 'it was given up')
  }
  const [put, update] = [cards.put.bind(cards), cards.update.bind(cards)]
  try {
    cards.put = async (...args) => {
      await looks()
      return put(...args)
    }
    assert.equal((await desk.train('default', 'mill', { by: 'user:a', trigger: 'operator' })).state, 'queued')
    assert.equal((await lineOf())?.training, 1)
    await desk.store.changeCard('default', 'mill', 1, () => ({ state: 'cancelled' }))
    await desk.store.changeLine('default', 'mill', () => ({ training: null }))
    cards.update = async (...args) => {
      await looks()
      return update(...args)
    }
    assert.equal((await desk.resume(name)).state, 'queued')
    assert.equal((await lineOf())?.training, 1)
  } finally {
    Object.assign(cards, { put, update })
  }
})
