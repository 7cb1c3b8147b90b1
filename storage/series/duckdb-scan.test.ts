import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import type { DuckdbSeriesStore } from './duckdb-series-store.ts'
import { MOVED_PARTITION, type ScannedReading, type ScanPlace } from './series-store.ts'
import { offsetsAfter, ReadingSource } from './testing/contract-engine.ts'
import { openStore } from './testing/store.ts'

async function emptyStore(t: TestContext): Promise<DuckdbSeriesStore> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-scan-'))
  const store = await openStore(directory)
  t.after(async () => {
    await store.stop()
    await rm(directory, { recursive: true, force: true })
  })
  return store
}

async function scanAll(store: DuckdbSeriesStore, rowsMax: number): Promise<ScannedReading[]> {
  const rows: ScannedReading[] = []
  let place: ScanPlace | null = null
  do {
    const page: { rows: ScannedReading[]; next: ScanPlace | null } = await store.scan(place, rowsMax)
    assert.ok(page.rows.length <= rowsMax)
    rows.push(...page.rows)
    place = page.next
  } while (place !== null)
  return rows
}

it('reads out every row with all that was kept of it, in the order of places, over gaps, types, tenants and partitions', async (t) => {
  const store = await emptyStore(t)
  assert.deepEqual(await store.scan(null, 10), { rows: [], next: null })
  assert.deepEqual(await store.tenants(), [])
  const source = new ReadingSource()
  const written = source
    .many(300, (i) => ({
      tenant: i % 7 === 0 ? 'b' : 'a',
      type: i % 3 === 0 ? 'pump' : 'valve/x',
      partition: [0, 4, 2][i % 3] as number,
      ...(i % 2 === 0 ? {} : { seq: i, boot: i % 4 === 1 ? 'b1' : '' }),
      values: i % 3 === 0 ? { t: i / 8, ok: i % 2 === 0 } : { mode: `m${i}` },
    }))
    .filter((_, i) => i < 60 || i > 240)
  await store.write(written, offsetsAfter(written))
  const expected = written.map(({ correlationId: _, ...row }) => row).sort((a, b) => a.partition - b.partition || a.offset - b.offset)
  for (const rowsMax of [1, 7, 1_000]) assert.deepEqual(await scanAll(store, rowsMax), expected, `${rowsMax} at a time`)
  assert.deepEqual((await store.tenants()).sort(), ['a', 'b'])
})

it('takes rows of an earlier log for stored, wherever they are asked for', async (t) => {
  const store = await emptyStore(t)
  const source = new ReadingSource()
  const [moved, present] = [source.reading({ partition: MOVED_PARTITION, seq: 1, boot: 'b' }), source.reading({ partition: 1, ts: 5_000 })]
  await store.write([moved], offsetsAfter([moved]))
  await store.write([present], offsetsAfter([present]))
  const asked = { tenant: moved.tenant, device: moved.device, ts: moved.ts, boot: 'b', seq: 1, partition: 0, offset: 0 }
  assert.deepEqual(await store.contains([asked, { ...asked, boot: 'c' }, { ...asked, boot: null, seq: null, ts: 5_000 }]), [
    true,
    false,
    false,
  ])
})
