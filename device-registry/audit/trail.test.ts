import assert from 'node:assert/strict'
import { test } from 'node:test'
import { auditScope } from '../../contracts/audit.ts'
import { LimitError } from '../../kernel/errors.ts'
import { Secret } from '../../kernel/secret.ts'
import { systemClock } from '../../kernel/time.ts'
import { openAuditCollections } from './documents.ts'
import { act, openWorld, TENANT, verified } from './testing/audit-world.ts'

test('an entry says who did what to which device from where, with before and after, and is chained', async (t) => {
  const world = await openWorld(t)
  await world.trail.record(act('pump-1', { why: 'leaks', origin: '10.0.0.7', correlationId: 'c-1' }))
  await world.trail.record(
    act('pump-2', { actor: 'device:pump-2', action: 'certificate.issue', subject: { kind: 'certificate', id: 'AB' }, device: 'pump-2' }),
  )
  const { items } = await world.trail.list({ tenant: TENANT, limit: 10 })
  assert.deepEqual(
    items.map(({ seq, actor, action, device, outcome }) => [seq, actor, action, device, outcome]),
    [
      [2, 'device:pump-2', 'certificate.issue', 'pump-2', 'done'],
      [1, 'user:admin', 'device.suspend', undefined, 'done'],
    ],
  )
  const [second, first] = items
  assert.equal(first?.previousHash, '0'.repeat(64))
  assert.equal(second?.previousHash, first?.hash)
  assert.deepEqual(
    [first?.origin, first?.why, first?.correlationId, first?.before, first?.after],
    ['10.0.0.7', 'leaks', 'c-1', { state: 'active' }, { state: 'suspended' }],
  )
  const report = await verified(world, await world.records())
  assert.deepEqual([report.faultsTotal, report.entries], [0, 2])
})

test('several processes at once: no gap, no fork, nothing twice; a bulk act takes few blocks', async (t) => {
  const world = await openWorld(t)
  const trails = [world.trail, await world.another(), await world.another()]
  const started = systemClock.monotonicMs()
  const ACTS = 10_000
  // Virtual time moves on, so that who lost a race tries again.
  let done = false
  const moving = (async () => {
    while (!done) await world.virtual.advance(20)
  })()
  await Promise.all(Array.from({ length: ACTS }, (_, index) => (trails[index % trails.length] ?? world.trail).record(act(`d-${index}`))))
  done = true
  await moving
  const took = systemClock.monotonicMs() - started
  const { blocks } = await openAuditCollections(world.documents)
  const count = await blocks.count({})
  t.diagnostic(`${ACTS} acts of ${trails.length} writers in ${Math.round(took)} ms, ${count} blocks`)
  assert.ok(count < ACTS / 50, `${count} blocks`)
  const records = await world.records()
  const entries = records.flatMap((record) => (record.kind === 'entry' ? [record.entry] : []))
  assert.deepEqual([entries.length, new Set(entries.map(({ subject }) => subject.id)).size], [ACTS, ACTS])
  assert.equal((await verified(world, records)).faultsTotal, 0)
})

test('a process that slept does not write into the place of what was cut', async (t) => {
  const world = await openWorld(t, { entriesMax: 1_000, blockEntriesMax: 100 })
  const sleeper = await world.another()
  await sleeper.record(act('first'))
  for (let index = 0; index < 30; index++) await Promise.all(Array.from({ length: 100 }, () => world.trail.record(act(`d-${index}`))))
  await world.checkpoints.cut()
  await world.virtual.advance(2_000)
  await sleeper.record(act('last'))
  const report = await verified(world, await world.records())
  assert.deepEqual(report.faults, [])
  assert.ok(report.firstSeq > 1 && report.entries <= 1_200, `${report.firstSeq}, ${report.entries}`)
})

test('filters: device, subject, actor, action, outcome and time; paged without loss', async (t) => {
  const world = await openWorld(t)
  const startMs = world.clock.nowMs()
  for (let index = 0; index < 60; index++) {
    const changes =
      index % 3 === 0
        ? { outcome: 'refused' as const, actor: 'anonymous' }
        : { action: 'certificate.revoke', subject: { kind: 'certificate', id: `A${index}` }, device: `d-${index % 5}` }
    await world.trail.record(act(`d-${index % 5}`, changes))
    await world.virtual.advance(1_000)
  }
  const all = async (query: object): Promise<number[]> => {
    const seqs: number[] = []
    let before: number | undefined
    for (;;) {
      const page = await world.trail.list({ tenant: TENANT, limit: 7, ...query, ...(before === undefined ? {} : { before }) })
      seqs.push(...page.items.map(({ seq }) => seq))
      if (page.next === null) return seqs
      before = page.next
    }
  }
  assert.equal((await all({})).length, 60)
  assert.deepEqual(await all({ subject: 'device/d-1' }), [57, 52, 47, 42, 37, 32, 27, 22, 17, 12, 7, 2])
  assert.equal((await all({ subject: 'certificate' })).length, 40)
  assert.deepEqual(await all({ subject: 'certificate/A4' }), [5])
  assert.equal((await all({ actor: 'anonymous' })).length, 20)
  assert.equal((await all({ action: 'certificate.revoke', subject: 'device/d-1' })).length, 8)
  assert.equal((await all({ outcome: 'refused' })).length, 20)
  assert.deepEqual(await all({ from: startMs + 10_000, to: startMs + 12_000 }), [13, 12, 11])
  assert.deepEqual(await all({ subject: 'device/none' }), [])
})

test('no secret, nothing endless and nothing that has no canonical form gets in', async (t) => {
  const world = await openWorld(t)
  const after = {
    token: 'abc',
    webhook: { secret: 'whsec_1', url: 'https://x' },
    typed: new Secret('hidden'),
    adminToken: ['x'],
    tokensMax: 5,
    half: '\ud800',
    '\udfff': 1,
  }
  await world.trail.record(act('pump-1', { after, why: `${'w'.repeat(5_000)}\ud83d`, before: { long: 'x'.repeat(10_000) } }))
  const { items } = await world.trail.list({ tenant: TENANT, limit: 1 })
  const [entry] = items
  assert.deepEqual(entry?.after, {
    token: '[masked]',
    webhook: { secret: '[masked]', url: 'https://x' },
    typed: '[masked]',
    adminToken: '[masked]',
    tokensMax: 5,
    half: '\ufffd',
    '\ufffd': 1,
  })
  assert.equal((entry?.before as { leftOut?: string }).leftOut, 'too long')
  assert.equal(entry?.why?.length, 1_000)
  assert.equal((await verified(world, await world.records())).faultsTotal, 0)
})

test('what is recorded within a request gets its origin and correlation id, and is seen by it', async (t) => {
  const world = await openWorld(t)
  const scope = { origin: '192.0.2.1', correlationId: 'r-9', recorded: new Set<string>() }
  await auditScope.run(scope, () => world.trail.record(act('pump-1')))
  const { items } = await world.trail.list({ tenant: TENANT, limit: 1 })
  assert.deepEqual([items[0]?.origin, items[0]?.correlationId, [...scope.recorded]], ['192.0.2.1', 'r-9', ['device']])
})

test('what waits is bounded, and an act that cannot be recorded is told of', async (t) => {
  const world = await openWorld(t, { waitingEntriesMax: 100 })
  const results = await Promise.allSettled(Array.from({ length: 150 }, () => world.trail.record(act('pump-1'))))
  const refused = results.filter((result) => result.status === 'rejected')
  assert.equal(refused.length, 50)
  assert.ok(refused.every(({ reason }) => reason instanceof LimitError))
  await world.documents.stop()
  await assert.rejects(world.trail.record(act('pump-1')))
  await world.documents.start()
  await world.trail.record(act('pump-2'))
  assert.equal((await verified(world, await world.records())).faultsTotal, 0)
})
