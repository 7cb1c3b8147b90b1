import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { LoggedReading } from '../../../contracts/reading.ts'
import { TOPICS } from '../../../contracts/topics.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import type { LmdbDocuments } from '../../../storage/documents/lmdb-documents.ts'
import { documentsIn } from '../../../storage/documents/testing/lmdb-fixture.ts'
import type { LmdbEventLog } from '../../../storage/event-log/lmdb-event-log.ts'
import { openTemporaryLog, topicSpec } from '../../../storage/event-log/temporary-log.ts'
import type { DuckdbSeriesStore } from '../../../storage/series/duckdb-series-store.ts'
import { openStore } from '../../../storage/series/testing/store.ts'

/** The stores of one stopped platform, or of an empty one. */
export interface EmbeddedStores {
  id: string
  documents: LmdbDocuments
  series: DuckdbSeriesStore
  eventLog: LmdbEventLog
}

/** Engines in folders of their own; all gone after the test. */
export async function embeddedStores(t: TestContext): Promise<EmbeddedStores> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-move-'))
  const documents = documentsIn(join(folder, 'documents'), {}, new Metrics())
  const series = await openStore(join(folder, 'series'))
  const log = await openTemporaryLog()
  await documents.start()
  await log.log.ensureTopics(Object.values(TOPICS).map((topic) => topicSpec(topic)))
  t.after(async () => {
    await Promise.all([documents.stop(), series.stop(), log.dispose()])
    await rm(folder, { recursive: true, force: true })
  })
  return { id: folder, documents, series, eventLog: log.log }
}

export const DEVICES = 30
export const READINGS = 5_000

/** Fills the stores as a platform does: devices, their states, alerts, queued messages, and readings of two tenants, types and kinds. */
export async function fill({ documents, series }: EmbeddedStores): Promise<void> {
  const put = async (collection: string, id: string, document: object): Promise<void> => {
    await (await documents.collection<object>({ name: collection, indexes: [] })).put(id, document)
  }
  for (let i = 0; i < DEVICES; i++) {
    const device = `pump-${i}`
    await put('devices', `default/${device}`, {
      tenant: 'default',
      id: device,
      type: 'pump',
      announced: true,
      revision: 3,
      'odd.name': { $x: 1 },
    })
    const state = {
      tenant: 'default',
      device,
      type: 'pump',
      partition: 0,
      nextOffset: 7,
      nextRejectedOffset: 2,
      identity: { boots: [{ boot: 'b', bounds: [0, 9] }] },
    }
    await put('device-states', `default/${device}`, state)
    await put('ledger-gaps', `default/${device}`, { tenant: 'default', device, partition: 0, position: 9, boots: [] })
  }
  await put('checkpoints', 'processing/0', { readings: 0, rejected: 0 })
  await put('ledger-summary', 'default/0', { tenant: 'default', partition: 0, position: 12, received: 5 })
  const outbox = [
    { alertId: 'a1', sequence: 1, change: 'opened', position: { partition: 0, offset: 40 } },
    { alertId: 'a1', sequence: 2, change: 'acknowledged', position: null },
  ]
  await put('alerts', 'a1', { id: 'a1', tenant: 'default', position: { partition: 0, offset: 40 }, outbox, recentAnomalyIds: ['x'] })
  await put('broker-queues', 'default:pump-1/00000000001', {
    clientId: 'default:pump-1',
    order: 1,
    topic: 't',
    brokerId: 'run-1',
    brokerCounter: 4,
  })
  await put('broker-queues', 'default:pump-1/log-0-5', {
    clientId: 'default:pump-1',
    order: 2,
    place: { partition: 0, offset: 5 },
    brokerId: 'log/0',
    brokerCounter: 6,
  })
  await put('broker-queues', 'default:pump-1/log-0-4', {
    clientId: 'default:pump-1',
    order: 0,
    place: { partition: 0, offset: 4 },
    done: true,
  })
  await put('broker-edges', 'e1', { edgeId: 'e1', positions: { 0: 6 } })
  const rows = Array.from({ length: READINGS }, (_, i) => reading(i))
  await series.write(rows, new Map([[0, rows.length * 2]]))
}

/** Offsets have gaps, as those of rejected readings and duplicates leave them. */
export function reading(i: number): LoggedReading {
  const isPump = i % 3 > 0
  return {
    tenant: i % 5 === 0 ? 'other' : 'default',
    device: `pump-${i % DEVICES}`,
    type: isPump ? 'pump' : 'valve',
    receivedAt: 1_763_683_200_000 + i * 1_000 + 5,
    correlationId: `c${i}`,
    ts: 1_763_683_200_000 + i * 1_000,
    ...(i % 4 === 0 ? {} : { boot: 'b', seq: i }),
    values: isPump ? { temperature: i / 4, ok: i % 2 === 0 } : { mode: `m${i % 7}`, open: i % 100 },
    partition: 0,
    offset: i * 2,
  }
}
