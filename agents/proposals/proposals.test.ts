import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import type { Principal } from '../../contracts/authorisation.ts'
import type { Proposal } from '../../contracts/proposal.ts'
import { AccessError, ConflictError, FleetpulseError, InvalidInputError } from '../../kernel/errors.ts'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import { documentsIn, lmdbDocuments, temporaryFolder } from '../../storage/documents/testing/lmdb-fixture.ts'
import { CountingActions } from './testing/counting-actions.ts'
import { GROUNDS, incidentOf, proposalsOver } from './testing/proposals-fixture.ts'
import { killWhenItSpeaks } from './testing/killed-child.ts'

const ana: Principal = { kind: 'user', id: 'ana', tenant: 'default', roles: ['operator'] }
const bob: Principal = { kind: 'user', id: 'bob', tenant: 'default', roles: ['admin'] }
const eve: Principal = { kind: 'user', id: 'eve', tenant: 'default', roles: ['viewer'] }
const coded = (code: string) => (error: unknown) => error instanceof FleetpulseError && error.code === code

async function world(t: TestContext, processes = 1) {
  const clock = new VirtualClock()
  const documents = await lmdbDocuments(t)
  const counting = new CountingActions(documents)
  const things = await counting.things()
  const all = await Promise.all(Array.from({ length: processes }, () => proposalsOver({ documents, actions: counting.actions, clock })))
  t.after(() => Promise.all(all.map(({ proposals }) => proposals.stop())))
  const [first] = all
  assert.ok(first !== undefined)
  return { clock, counting, things, all, ...first }
}

async function proposed(w: Awaited<ReturnType<typeof world>>, target = 'pump-1'): Promise<Proposal> {
  await w.things.put(target, { state: 'running', changes: [] })
  const [proposal] = await w.proposals.propose(incidentOf(target), 'inc-1', 'agent:dispatcher', GROUNDS)
  assert.ok(proposal !== undefined)
  return proposal
}

test('a proposal shows what it would change and changes nothing; thought of again it is the same', async (t) => {
  const w = await world(t)
  const proposal = await proposed(w)
  assert.deepEqual(proposal.diff, [{ subject: 'thing/pump-1', field: 'state', before: 'running', after: 'held' }])
  assert.deepEqual([proposal.state, proposal.createdBy, proposal.cause], ['pending', 'agent:dispatcher', 'security.impersonation'])
  assert.equal((await w.things.get('pump-1'))?.version, 1)
  assert.deepEqual(await w.proposals.propose(incidentOf('pump-1'), 'inc-1', 'agent:dispatcher', GROUNDS), [])
  assert.deepEqual(
    await w.proposals.propose(incidentOf('gone'), 'inc-1', 'agent:dispatcher', GROUNDS),
    [],
    'what cannot be done is not proposed',
  )
  assert.deepEqual((await w.proposals.list('default', { limit: 10 })).items, [proposal])
  assert.deepEqual((await w.proposals.list('other', { limit: 10 })).items, [])
})

test('approval names what was seen: where that moved, it is refused and shows what it would change now', async (t) => {
  const w = await world(t)
  const { id, diffHash } = await proposed(w)
  await assert.rejects(w.proposals.approve(ana, id, 'f'.repeat(64)), coded('PROPOSAL_MOVED'))
  await w.things.update('pump-1', { $set: { state: 'idle' } })
  await assert.rejects(w.proposals.approve(ana, id, diffHash), coded('PROPOSAL_MOVED'))
  const now = await w.proposals.refresh('default', id)
  assert.deepEqual([now.state, now.diff[0]?.before], ['pending', 'idle'])
  const done = await w.proposals.approve(ana, id, now.diffHash)
  assert.deepEqual([done.state, done.outcome, done.decidedBy], ['done', 'done', 'user:ana'])
  assert.deepEqual((await w.things.get('pump-1'))?.changes, ['user:ana'])
  await assert.rejects(w.proposals.approve(ana, id, now.diffHash), ConflictError, 'never twice')
  assert.deepEqual(w.told, ['ProposalCreated/1', 'ProposalDecided/1', 'ProposalSettled/1'])
  assert.deepEqual(
    w.audit.map(({ action, actor }) => `${action} ${actor}`),
    ['proposal.create agent:dispatcher', 'proposal.approve user:ana', 'proposal.execute user:ana'],
  )
})

test('who decides needs the right for what is to be done; what is rejected or over is never done', async (t) => {
  const w = await world(t)
  const { id, diffHash } = await proposed(w)
  await assert.rejects(w.proposals.approve(eve, id, diffHash), AccessError)
  await assert.rejects(w.proposals.reject(eve, id, 'no'), AccessError)
  const narrow: Principal = { ...ana, kind: 'api-key', scopes: ['write:proposals'] }
  await assert.rejects(w.proposals.approve(narrow, id, diffHash), AccessError, 'the scope does not reach to devices')
  const grounds = new Map([['certificate.revoke' as const, { cause: 'security.cert_anomaly', level: 'LIKELY', evidence: [] }]])
  const [revoke] = await w.proposals.propose(incidentOf('pump-1'), 'inc-1', 'agent:dispatcher', grounds)
  assert.ok(revoke !== undefined)
  await assert.rejects(w.proposals.approve(ana, revoke.id, revoke.diffHash), AccessError, 'operators revoke no certificates')
  await assert.rejects(w.proposals.reject(ana, id, '\u202e '), InvalidInputError)
  const rejected = await w.proposals.reject(ana, id, 'was\u202e on site')
  assert.deepEqual([rejected.state, rejected.reason], ['rejected', 'was on site'])
  await assert.rejects(w.proposals.approve(bob, id, diffHash), ConflictError)
  await w.clock.advance(24 * 3_600_000)
  await assert.rejects(w.proposals.approve(bob, revoke.id, revoke.diffHash), ConflictError, 'expired, though nobody said so yet')
  await w.proposals.sweep()
  assert.equal((await w.proposals.get('default', revoke.id)).state, 'expired')
  assert.deepEqual((await w.things.get('pump-1'))?.changes, [])
})

test('trouble of a store is tried again, and an answer that was lost is found out', async (t) => {
  for (const fails of ['before', 'after'] as const) {
    const w = await world(t)
    const { id, diffHash } = await proposed(w)
    w.counting.fails = [fails]
    assert.equal((await w.proposals.approve(ana, id, diffHash)).state, 'approved')
    await w.proposals.sweep()
    assert.equal((await w.proposals.get('default', id)).state, 'approved', 'its lease is not over')
    await w.clock.advance(50)
    await w.proposals.sweep()
    const done = await w.proposals.get('default', id)
    assert.deepEqual([done.state, done.outcome], ['done', fails === 'before' ? 'done' : 'found done'])
    assert.equal((await w.things.get('pump-1'))?.changes.length, 1)
  }
})

test('whatever several processes do at once, nothing is done unapproved, and nothing twice', async (t) => {
  const w = await world(t, 3)
  let run = 0
  const step = fc.oneof(
    fc.record({ do: fc.constant('approve' as const), at: fc.nat(2), by: fc.constantFrom(ana, bob) }),
    fc.record({ do: fc.constant('reject' as const), at: fc.nat(2) }),
    fc.record({ do: fc.constant('sweep' as const), at: fc.nat(2) }),
    fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(10, 60) }),
    fc.record({ do: fc.constant('fail' as const), how: fc.constantFrom('before' as const, 'after' as const) }),
    fc.record({ do: fc.constant('touch' as const) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }), async (rounds) => {
      const target = `pump-${run++}`
      const { id, diffHash } = await proposed(w, target)
      const all = w.all.map(({ proposals }) => proposals)
      let approvals = 0
      const take = async (each: (typeof rounds)[number][number]): Promise<void> => {
        const proposals = all['at' in each ? each.at : 0] as (typeof all)[number]
        if (each.do === 'approve') approvals++
        if (each.do === 'approve') await proposals.approve(each.by, id, diffHash)
        else if (each.do === 'reject') await proposals.reject(bob, id, 'no')
        else if (each.do === 'sweep') await proposals.sweep()
        else if (each.do === 'wait') await w.clock.advance(each.ms)
        else if (each.do === 'fail') w.counting.fails.push(each.how)
        // Another version of the same state.
        else await w.things.update(target, { $set: { state: (await w.things.get(target))?.state } })
      }
      for (const round of rounds) {
        const ends = await Promise.allSettled(round.map(take))
        for (const end of ends) if (end.status === 'rejected') assert.ok(end.reason instanceof ConflictError, String(end.reason))
      }
      w.counting.fails = []
      for (let i = 0; i < 3; i++) {
        await w.clock.advance(60)
        for (const proposals of all) await proposals.sweep()
      }
      const { state } = await w.proposals.get('default', id)
      const { changes = [] } = (await w.things.get(target)) ?? {}
      assert.ok(changes.length <= 1, `done ${changes.length} times`)
      if (approvals === 0) assert.equal(changes.length, 0)
      assert.ok(state !== 'approved', 'its end is known')
      assert.equal(state === 'done', changes.length === 1)
      if (state === 'rejected') assert.equal(changes.length, 0)
    }),
    { seed: 8, numRuns: 25 },
  )
})

test('killed between the approval and its end: another process finds out, and it is done once', async (t) => {
  const child = fileURLToPath(new URL('./testing/execution-child.js', import.meta.url))
  for (const stopAt of ['before', 'after'] as const) {
    const directory = join(await temporaryFolder(t), 'store')
    const open = async () => {
      const documents = documentsIn(directory)
      await documents.start()
      const counting = new CountingActions(documents)
      return {
        documents,
        things: await counting.things(),
        ...(await proposalsOver({ documents, actions: counting.actions, clock: systemClock })),
      }
    }
    const before = await open()
    await before.things.put('pump-1', { state: 'running', changes: [] })
    const [proposal] = await before.proposals.propose(incidentOf('pump-1'), 'inc-1', 'agent:dispatcher', GROUNDS)
    assert.ok(proposal !== undefined)
    await before.proposals.stop()
    await before.documents.stop()
    const killed = spawn(process.execPath, [child, directory, proposal.id, proposal.diffHash, stopAt], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await killWhenItSpeaks(killed)
    const after = await open()
    const deadlineMs = systemClock.monotonicMs() + 60_000
    for (let state = 'approved'; state === 'approved';) {
      assert.ok(systemClock.monotonicMs() < deadlineMs)
      await after.proposals.sweep()
      ;({ state } = await after.proposals.get('default', proposal.id))
    }
    const done = await after.proposals.get('default', proposal.id)
    assert.deepEqual([done.state, done.outcome, done.decidedBy], ['done', stopAt === 'after' ? 'found done' : 'done', 'user:ana'], stopAt)
    assert.deepEqual((await after.things.get('pump-1'))?.changes, ['user:ana'])
    await after.proposals.stop()
    await after.documents.stop()
  }
})
