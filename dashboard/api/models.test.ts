import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { PEER_SUMMARIES_COLLECTION, type PeerSummary } from '../../anomaly/peers/peer-summary.ts'
import { changeId } from '../../anomaly/settings/adopted-changes.ts'
import type { ModelCard } from '../../contracts/model.ts'
import { ApiFixture } from './testing/api-fixture.ts'

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open()
})
after(() => api.close())

async function ask<T>(method: 'GET' | 'POST', path: string, body?: object): Promise<{ status: number; body: T }> {
  const answer = await api.ask(method, path, body === undefined ? {} : { body })
  return { status: answer.statusCode, body: answer.json<T>() }
}

interface Problem {
  code: string
}

test('a model is asked for, cancelled and retired, each act with its entry in the trail', async () => {
  const asked = await ask<ModelCard>('POST', '/models', { type: 'generic', seed: 5 })
  assert.equal(asked.status, 201)
  assert.deepEqual([asked.body.id, asked.body.state, asked.body.seed, asked.body.trigger], ['generic@1', 'queued', 5, 'operator'])
  const twice = await ask<Problem>('POST', '/models', { type: 'generic' })
  assert.deepEqual([twice.status, twice.body.code], [409, 'MODEL_TRAINING'])
  const promoted = await ask<Problem>('POST', '/models/generic@1/promote')
  assert.deepEqual([promoted.status, promoted.body.code], [409, 'MODEL_STATE'])
  assert.equal((await ask('POST', '/models/generic@1/cancel')).status, 200)
  const { body } = await ask<{ items: { action: string; outcome: string }[] }>('GET', '/audit')
  const acts = body.items.filter(({ action }) => action.startsWith('model.')).map(({ action, outcome }) => `${action} ${outcome}`)
  for (const act of ['model.train done', 'model.cancel done', 'model.promote failed'])
    assert.ok(acts.includes(act), `${act} of ${acts.join(', ')}`)
})

test('cards are listed by type and page by page', async () => {
  const { body } = await ask<{ items: ModelCard[]; next: string | null }>('GET', '/models?type=generic&limit=1')
  assert.deepEqual([body.items.map(({ id }) => id), body.next], [['generic@1'], null])
  assert.equal((await ask<ModelCard>('GET', '/models/generic@1')).body.version, 1)
  assert.deepEqual((await ask<{ items: unknown[] }>('GET', '/models?type=pump')).body.items, [])
})

test('the file of a model is told as it is signed, and a summary of peers to its own tenant alone', async () => {
  const missing = await ask<Problem & { detail: string }>('GET', '/models/generic@1/file')
  assert.deepEqual([missing.status, missing.body.detail], [404, 'there is no file of model generic@1: it is queued'])
  const bytes = Buffer.from([1, 0, 255, 10])
  await api.services.models.store.writeFile('default/generic@1', bytes)
  const answer = await api.ask('GET', '/models/generic@1/file')
  assert.deepEqual([answer.headers['content-type'], answer.rawPayload], ['application/octet-stream', bytes])
  const summaries = await api.services.documents.collection<PeerSummary>({ name: PEER_SUMMARIES_COLLECTION, indexes: [] })
  const level = { peers: 3, median: 2, deviation: 1, values: [1, 2, 3] }
  const summary = {
    number: 7,
    type: 'pump',
    slotTs: 60_000,
    metrics: [{ metric: 'flow', level, liveliness: null, typical: ['p-2'] }],
    at: 1,
  }
  await summaries.insert(changeId(7), { ...summary, tenant: 'default' })
  await summaries.insert(changeId(8), { ...summary, number: 8, tenant: 'other' })
  assert.deepEqual((await ask('GET', '/detectors/peers/7')).body, summary)
  assert.equal((await ask('GET', '/detectors/peers/8')).status, 404)
})

test('what there is not, and what is no name, is said', async () => {
  for (const [path, status, code] of [
    ['/models/generic@7', 404, 'NOT_FOUND'],
    ['/models/generic', 400, 'INVALID_INPUT'],
    ['/models/generic@0', 400, 'INVALID_INPUT'],
  ] as const) {
    const answer = await ask<Problem>('GET', path)
    assert.deepEqual([answer.status, answer.body.code], [status, code], path)
  }
  assert.equal((await ask<Problem>('POST', '/models', { type: 'no-such-type' })).status, 404)
  assert.equal((await ask<Problem>('POST', '/models', { type: 'generic', epochs: 5 })).status, 400)
})
