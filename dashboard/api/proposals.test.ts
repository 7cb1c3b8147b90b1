import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { GROUNDS, incidentOf } from '../../agents/proposals/testing/proposals-fixture.ts'
import type { Thing } from '../../agents/proposals/testing/counting-actions.ts'
import type { AuditEntry } from '../../contracts/audit.ts'
import type { Proposal } from '../../contracts/proposal.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import { ApiFixture, problemOf } from './testing/api-fixture.ts'

let api: ApiFixture
let things: Collection<Thing>
before(async () => {
  api = await ApiFixture.open()
  things = await api.services.documents.collection<Thing>({ name: 'test-things', indexes: [] })
})
after(() => api.close())

async function proposed(target: string): Promise<Proposal> {
  await things.put(target, { state: 'running', changes: [] })
  const [proposal] = await api.services.proposals.propose(incidentOf(target), 'inc-1', 'agent:dispatcher', GROUNDS)
  assert.ok(proposal !== undefined)
  return proposal
}

test('a proposal is looked at, and approved as it was seen: done once, and in the trail', async () => {
  const { id, diffHash } = await proposed('pump-1')
  const listed = (await api.ask('GET', '/proposals?state=pending&incident=inc-1')).json<{ items: Proposal[]; next: string | null }>()
  assert.deepEqual([listed.items.map((each) => each.id), listed.next], [[id], null])
  const wrong = await api.ask('POST', `/proposals/${id}/approve`, { body: { diffHash: '0'.repeat(64) } })
  assert.deepEqual([wrong.statusCode, problemOf(wrong).code], [409, 'PROPOSAL_MOVED'])
  await things.update('pump-1', { $set: { state: 'idle' } })
  assert.equal(problemOf(await api.ask('POST', `/proposals/${id}/approve`, { body: { diffHash } })).code, 'PROPOSAL_MOVED')
  const now = (await api.ask('GET', `/proposals/${id}`)).json<Proposal>()
  assert.deepEqual(now.diff, [{ subject: 'thing/pump-1', field: 'state', before: 'idle', after: 'held' }])
  const done = await api.ask('POST', `/proposals/${id}/approve`, { body: { diffHash: now.diffHash } })
  assert.deepEqual([done.statusCode, done.json<Proposal>().state], [200, 'done'], done.body)
  assert.equal((await api.ask('POST', `/proposals/${id}/approve`, { body: { diffHash: now.diffHash } })).statusCode, 409)
  assert.deepEqual((await things.get('pump-1'))?.changes, ['user:admin'])
  const { items } = (await api.ask('GET', `/audit?subject=proposal/${id}`)).json<{ items: AuditEntry[] }>()
  assert.deepEqual(
    items.filter(({ outcome }) => outcome === 'done').map(({ action }) => action),
    ['proposal.execute', 'proposal.approve', 'proposal.create'],
  )
})

test('what is rejected says why; what cannot be meant is refused', async () => {
  const { id, diffHash } = await proposed('pump-2')
  assert.equal((await api.ask('POST', `/proposals/${id}/reject`, { body: { reason: '' } })).statusCode, 400)
  assert.equal((await api.ask('POST', `/proposals/${id}/approve`, { body: { diffHash: 'yes' } })).statusCode, 400)
  const rejected = (await api.ask('POST', `/proposals/${id}/reject`, { body: { reason: 'was on site' } })).json<Proposal>()
  assert.deepEqual([rejected.state, rejected.reason, rejected.decidedBy], ['rejected', 'was on site', 'user:admin'])
  assert.equal((await api.ask('POST', `/proposals/${id}/approve`, { body: { diffHash } })).statusCode, 409)
  assert.equal((await api.ask('GET', '/proposals/pr_0')).statusCode, 404)
  const made = (await api.ask('POST', '/api-keys', { body: { name: 'Eve', role: 'viewer' } })).json<{ secret: string }>()
  const headers = { authorization: `Bearer ${made.secret}` }
  assert.equal((await api.ask('GET', '/proposals', { headers })).statusCode, 200)
  assert.equal((await api.ask('POST', `/proposals/${id}/reject`, { headers, body: { reason: 'x' } })).statusCode, 403)
})

test('lists are paged, newest first', async () => {
  const made = [await proposed('pump-3'), await proposed('pump-4')].map(({ id }) => id)
  const first = (await api.ask('GET', '/proposals?limit=1')).json<{ items: Proposal[]; next: string }>()
  const second = (await api.ask('GET', `/proposals?limit=1&cursor=${first.next}`)).json<{ items: Proposal[] }>()
  assert.deepEqual(new Set([...first.items, ...second.items].map(({ id }) => id)), new Set(made))
  assert.equal((await api.ask('GET', '/proposals?cursor=x')).statusCode, 400)
})
