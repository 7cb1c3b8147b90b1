import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { CompactSign } from 'jose'
import { AUDIT_CHECKPOINT, type AuditEntry } from '../../contracts/audit.ts'
import type { ExportedRecord } from './audit-query.ts'
import { EMPTY_CHAIN, hashOf, link } from './chain.ts'
import { act, openWorld, TENANT, verified, type AuditWorld } from './testing/audit-world.ts'
import type { AuditReport } from './verifier.ts'

/** Thirty entries, signed after every tenth. */
async function writtenWorld(
  t: Parameters<typeof openWorld>[0],
): Promise<{ world: AuditWorld; records: ExportedRecord[]; seals: string[] }> {
  const world = await openWorld(t)
  const seals: string[] = []
  for (let index = 1; index <= 30; index++) {
    await world.trail.record(act(`d-${index}`))
    if (index % 10 !== 0) continue
    await world.checkpoints.seal()
    seals.push((await world.trail.newestCheckpoint(TENANT))?.jws ?? '')
    await world.virtual.advance(3_500_000)
  }
  return { world, records: await world.records(), seals }
}

const kinds = (report: AuditReport): string[] => [...new Set(report.faults.map(({ fault }) => fault))]
const isEntry = (record: ExportedRecord): record is Extract<ExportedRecord, { kind: 'entry' }> => record.kind === 'entry'

/** The entries as somebody with the database would rewrite them: every hash and link made to fit again. */
function rechained(records: readonly ExportedRecord[], change: (entries: AuditEntry[]) => AuditEntry[]): ExportedRecord[] {
  const changed = change(records.filter(isEntry).map(({ entry }) => entry))
  const loose = changed.map(({ seq: _seq, previousHash: _previous, hash: _hash, ...rest }) => rest)
  const entries = link(EMPTY_CHAIN, loose)
  const seals = records.filter((record) => !isEntry(record))
  return [
    ...entries.slice(0, 10),
    ...seals.slice(0, 1),
    ...entries.slice(10, 20),
    ...seals.slice(1, 2),
    ...entries.slice(20),
    ...seals.slice(2),
  ].map((record) => ('kind' in record ? record : { kind: 'entry' as const, entry: record }))
}

test('a trail as it was written has no fault', async (t) => {
  const { world, records } = await writtenWorld(t)
  const report = await verified(world, records)
  assert.deepEqual([report.faults, report.entries, report.checkpoints, report.sealedThrough], [[], 30, 3, 30])
})

test('an altered, removed, inserted or reordered record is found', async (t) => {
  const { world, records } = await writtenWorld(t)
  const at = (seq: number): number => records.findIndex((record) => isEntry(record) && record.entry.seq === seq)
  const altered = structuredClone(records)
  ;(altered[at(7)] as { entry: AuditEntry }).entry.actor = 'user:somebody-else'
  assert.deepEqual((await verified(world, altered)).faults, [
    { fault: 'altered', seq: 7, detail: 'its content does not have the hash it carries' },
  ])

  const rehashed = structuredClone(altered)
  const changed = (rehashed[at(7)] as { entry: AuditEntry }).entry
  changed.hash = hashOf(changed)
  assert.deepEqual(kinds(await verified(world, rehashed)), ['unlinked'])

  assert.deepEqual(kinds(await verified(world, records.toSpliced(at(13), 1))), ['missing'])
  assert.deepEqual(kinds(await verified(world, records.slice(at(3)))), ['beginning'])
  assert.deepEqual(
    kinds(
      await verified(
        world,
        records.filter((record) => !isEntry(record) || record.entry.seq < 28),
      ),
    ),
    ['end'],
  )

  const inserted = records.toSpliced(at(13), 0, { kind: 'entry', entry: { ...(records[at(12)] as { entry: AuditEntry }).entry, seq: 13 } })
  assert.ok(kinds(await verified(world, inserted)).includes('out-of-order'))
  assert.deepEqual(kinds(await verified(world, records.toSpliced(at(13), 0, records[at(5)] as ExportedRecord))), ['out-of-order'])
  const swapped = [...records]
  ;[swapped[at(4)], swapped[at(5)]] = [swapped[at(5)] as ExportedRecord, swapped[at(4)] as ExportedRecord]
  assert.deepEqual(kinds(await verified(world, swapped)).sort(), ['missing', 'out-of-order'])
})

test('a chain that was made to fit again disagrees with what was signed, also where checkpoints were taken away', async (t) => {
  const { world, records, seals } = await writtenWorld(t)
  const forged = rechained(records, (entries) =>
    entries.map((entry) => (entry.seq === 12 ? { ...entry, actor: 'user:somebody-else' } : entry)),
  )
  assert.deepEqual(kinds(await verified(world, forged)), ['checkpoint-disagrees'])
  assert.deepEqual(
    kinds(
      await verified(
        world,
        rechained(records, (entries) => entries.toSpliced(4, 1)),
      ),
    ).includes('checkpoint-disagrees'),
    true,
  )
  const unsigned = forged.filter(isEntry)
  assert.deepEqual(kinds(await verified(world, unsigned)), ['unsigned'])
  // Whoever kept a checkpoint elsewhere finds it out whatever was removed here.
  assert.deepEqual(kinds(await verified(world, unsigned, [seals[1] as string])).includes('checkpoint-disagrees'), true)
  assert.deepEqual(kinds(await verified(world, records.filter(isEntry).slice(0, 15), [seals[1] as string])), ['end'])
})

test('a forged checkpoint is found: another key, another content, another type, no signature', async (t) => {
  const { world, records } = await writtenWorld(t)
  const [own] = await world.key.publicKeys()
  const { privateKey } = generateKeyPairSync('ed25519')
  const statement = { tenant: TENANT, kind: 'head', seq: 30, hash: '0'.repeat(64), at: 1 }
  const sign = (payload: object, header: object): Promise<string> =>
    new CompactSign(Buffer.from(JSON.stringify(payload))).setProtectedHeader({ alg: 'EdDSA', ...header }).sign(privateKey)
  const original = records.find((record) => record.kind === 'checkpoint')?.jws as string
  const [head, , signature] = original.split('.')
  const forgeries = [
    await sign(statement, { typ: AUDIT_CHECKPOINT, kid: own?.kid }),
    await sign(statement, { typ: AUDIT_CHECKPOINT, kid: 'mine' }),
    `${head}.${Buffer.from(JSON.stringify(statement)).toString('base64url')}.${signature}`,
    `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(statement)).toString('base64url')}.`,
    await world.key.sign('another-type', statement),
    await world.key.sign(AUDIT_CHECKPOINT, { seq: 'x' }),
    'nothing',
  ]
  for (const jws of forgeries) {
    const report = await verified(world, [...records, { kind: 'checkpoint', jws }])
    assert.deepEqual(kinds(report), ['checkpoint-forged'], jws)
  }
  // Moved behind the place that it is about, it would be compared with nothing.
  const moved = [
    ...records.filter((record) => record !== records.find(({ kind }) => kind === 'checkpoint')),
    { kind: 'checkpoint' as const, jws: original },
  ]
  assert.deepEqual(kinds(await verified(world, moved)), ['out-of-order'])
})

test('no change of any record goes unnoticed', async (t) => {
  const { world, records, seals } = await writtenWorld(t)
  const entriesOf = (all: readonly ExportedRecord[]): string => JSON.stringify(all.filter(isEntry))
  const entries = records.flatMap((record, index) => (isEntry(record) ? [index] : []))
  const place = fc.constantFrom(...entries)
  const field = fc.constantFrom('at', 'actor', 'action', 'subject', 'outcome', 'before', 'after', 'seq', 'previousHash', 'hash', 'tenant')
  const change = fc.oneof(
    fc.record({ kind: fc.constant('alter' as const), place, field, value: fc.jsonValue() }),
    fc.record({ kind: fc.constant('remove' as const), place }),
    fc.record({ kind: fc.constant('repeat' as const), place, to: place }),
    fc.record({ kind: fc.constant('move' as const), place, to: place }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
      let changed = structuredClone(records)
      for (const one of changes) {
        const record = changed[one.place]
        // What was removed before may have left nothing at this place.
        if (record === undefined) continue
        if (one.kind === 'remove') changed = changed.toSpliced(one.place, 1)
        else if (one.kind === 'repeat') changed = changed.toSpliced(one.to, 0, record)
        else if (one.kind === 'move') changed = changed.toSpliced(one.place, 1).toSpliced(one.to, 0, record)
        else if (isEntry(record)) changed[one.place] = { kind: 'entry', entry: { ...record.entry, [one.field]: one.value } }
      }
      fc.pre(entriesOf(changed) !== entriesOf(records))
      // The last checkpoint was kept elsewhere: the end of a trail can be taken away together with what was signed of it.
      assert.ok((await verified(world, changed, seals.slice(-1))).faultsTotal > 0)
    }),
    { numRuns: 300 },
  )
})
