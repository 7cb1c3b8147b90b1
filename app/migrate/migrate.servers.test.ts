import assert from 'node:assert/strict'
import { it } from 'node:test'
import { systemClock } from '../../kernel/time.ts'
import { mongodbDocuments } from '../../storage/documents/testing/mongodb-fixture.ts'
import { allPages } from '../../storage/series/testing/contract-engine.ts'
import { dropTables, newPrefix, openQuestdbStore, sharedQuestdb } from '../../storage/series/testing/questdb.ts'
import { serverAddress } from '../../test/testing/server-addresses.ts'
import { migrate } from './migrate.ts'
import { DEVICES, embeddedStores, fill, READINGS } from './testing/embedded.ts'

it('moves an embedded platform into MongoDB and QuestDB, and goes on where it was cut short', async (t) => {
  const source = await embeddedStores(t)
  await fill(source)
  const documents = await mongodbDocuments(t, { url: serverAddress('mongodb') })
  const addresses = sharedQuestdb()
  const tablePrefix = newPrefix()
  const series = await openQuestdbStore({ ...addresses, tablePrefix })
  t.after(async () => {
    await series.stop()
    await dropTables(addresses.pgUrl, tablePrefix)
  })
  const options = { source, target: { documents, series }, partitions: 12, clock: systemClock, seriesPageRows: 600 }
  let told = 0
  const cut = (what: string): void => {
    if (what === 'readings' && ++told > 3) throw new Error('cut')
  }
  await assert.rejects(migrate({ ...options, onProgress: cut }), /cut/)
  const report = await migrate({ ...options, onProgress: () => undefined })
  assert.ok(report.agrees, JSON.stringify(report.counts))
  for (const tenant of ['default', 'other']) {
    const asked = { tenant, limit: 1_000 }
    assert.deepEqual((await allPages(series, asked)).items, (await allPages(source.series, asked)).items)
  }
  assert.equal((await series.count('default')) + (await series.count('other')), READINGS)
  const devices = await documents.collection<Record<string, unknown>>({ name: 'devices', indexes: [] })
  assert.equal(await devices.count({}), DEVICES)
  assert.deepEqual((await devices.get('default/pump-3'))?.['odd.name'], { $x: 1 })
  const known = { tenant: 'default', device: 'pump-1', ts: 1_763_683_200_000 + 1_000, boot: 'b', seq: 1, partition: 3, offset: 0 }
  assert.deepEqual(await series.contains([known, { ...known, seq: 2 }]), [true, false])
  assert.equal((await migrate({ ...options, onProgress: () => undefined })).status, 'again')
})
