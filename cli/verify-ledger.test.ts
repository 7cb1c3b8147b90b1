import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { LoggedReading } from '../contracts/reading.ts'
import { REJECTED_READING } from '../contracts/reading.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { ApiServer } from '../dashboard/api/server.ts'
import { ApiFixture, TOKEN } from '../dashboard/api/testing/api-fixture.ts'
import { jsonBytes } from '../kernel/bytes.ts'
import { systemClock } from '../kernel/time.ts'
import { LEDGER_GAPS, LEDGER_HOURS, spanKey } from '../processing/ledger-documents.ts'
import type { LedgerGapsDocument, LedgerHourDocument } from '../processing/ledger-documents.ts'
import type { Fault } from './ledger-check.ts'
import { verifyLedger, type LedgerReport } from './verify-ledger.ts'

/*
 * The check against real stores, written through their ports as processing writes them, whole and with faults put in: what a platform that
 * lost or repeated something would hold.
 */

const HOUR_MS = 3_600_000
const HOUR = Math.floor(1_763_680_000_000 / HOUR_MS) * HOUR_MS
const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))

let fixture: ApiFixture
let server: ApiServer
let offset = 0
before(async () => {
  fixture = await ApiFixture.open()
  server = new ApiServer(fixture.services)
  await server.start()
})
after(async () => {
  await server.stop()
  await fixture.close()
})

async function store(device: string, seqs: readonly number[], hour = HOUR): Promise<void> {
  const rows = seqs.map((seq): LoggedReading => {
    const place = { partition: 0, offset: offset++ }
    return {
      tenant: 'default',
      device,
      type: 'generic',
      receivedAt: hour + seq,
      correlationId: 'c',
      ts: HOUR + seq * 1_000,
      boot: 'b',
      seq,
      values: { t: seq },
      ...place,
    }
  })
  await fixture.services.series.write(rows, new Map([[0, offset]]))
}

interface Claim {
  stored: number
  first: number
  last: number
  hour?: number
  rejected?: number
  duplicate?: number
  seqBefore?: number
}

async function claim(device: string, { stored, first, last, hour = HOUR, rejected = 0, duplicate = 0, seqBefore }: Claim): Promise<void> {
  const hours = await fixture.services.documents.collection<LedgerHourDocument>(LEDGER_HOURS)
  const span = { boot: 'b', seqBefore: seqBefore ?? null, firstSeq: first, lastSeq: last }
  const counts = { stored, rejected, duplicate, late: 0, rejectedByReason: {} }
  await hours.put(`${deviceKey('default', device)}/${hour}`, {
    tenant: 'default',
    device,
    hour,
    ...counts,
    spans: { [spanKey('readings', 'b')]: span },
  })
}

async function gaps(device: string, ...ranges: [number, number][]): Promise<void> {
  const collection = await fixture.services.documents.collection<LedgerGapsDocument>(LEDGER_GAPS)
  const boots = [{ boot: 'b', gaps: ranges.map(([from, to]) => ({ from, to })), unreportedGaps: 0 }]
  await collection.put(deviceKey('default', device), { tenant: 'default', device, partition: 0, position: 1, boots })
}

async function verify(device: string, range = { from: 0, to: Infinity }): Promise<LedgerReport> {
  const api = { get: async <T>(path: string): Promise<T> => (await fixture.ask('GET', path)).json<T>() }
  return verifyLedger({ api, clock: systemClock, device, range, settleMs: 0, onProgress: () => undefined })
}

const told = (faults: readonly Fault[]): string[] =>
  faults.map(
    ({ fault, count, hour, from, to }) => `${fault} ${count} ${hour === undefined ? `${from}-${to}` : `hour ${(hour - HOUR) / HOUR_MS}`}`,
  )
const upTo = (last: number, ...without: number[]): number[] =>
  Array.from({ length: last + 1 }, (_, seq) => seq).filter((seq) => !without.includes(seq))

test('a store that holds everything agrees: gaps, rejected numbers, duplicates, several hours and more than a page', async () => {
  await store('whole', upTo(2_499, 7, 8, 40))
  await store('whole', [2_503, 2_504], HOUR + HOUR_MS)
  await claim('whole', { stored: 2_497, first: 0, last: 2_499, rejected: 1, duplicate: 5 })
  await claim('whole', { stored: 2, first: 2_503, last: 2_504, hour: HOUR + HOUR_MS, seqBefore: 2_499 })
  await gaps('whole', [7, 8], [2_500, 2_502])
  const rejected = {
    tenant: 'default',
    device: 'whole',
    receivedAt: HOUR,
    correlationId: 'c',
    topic: 't',
    reason: 'bad-value',
    detail: '',
    payloadBase64: '',
    payloadBytes: 0,
    boot: 'b',
    seq: 40,
  }
  await fixture.services.eventLog.append(TOPICS.rejected, [
    { key: deviceKey('default', 'whole'), schema: REJECTED_READING, value: jsonBytes(rejected) },
  ])
  const { faults, ...sums } = await verify('whole')
  assert.deepEqual(faults, [])
  assert.deepEqual(sums, {
    devices: 1,
    acked: 2_505,
    stored: 2_499,
    rejected: 1,
    duplicate: 5,
    missing: 5,
    disordered: 0,
    unaccounted: 0,
    faultsTotal: 0,
  })
  const second = await verify('whole', { from: HOUR + HOUR_MS, to: Infinity })
  assert.deepEqual([second.acked, second.stored, second.faults], [2, 2, []])
})

test('a row that is gone is found by hour and by number, also between numbers that were rejected', async () => {
  await store('gone', upTo(20, 4, 5, 11))
  await claim('gone', { stored: 20, first: 0, last: 20, rejected: 1 })
  const rejected = {
    tenant: 'default',
    device: 'gone',
    receivedAt: HOUR,
    correlationId: 'c',
    topic: 't',
    reason: 'bad-value',
    detail: '',
    payloadBase64: '',
    payloadBytes: 0,
    boot: 'b',
    seq: 11,
  }
  await fixture.services.eventLog.append(TOPICS.rejected, [
    { key: deviceKey('default', 'gone'), schema: REJECTED_READING, value: jsonBytes(rejected) },
  ])
  const { faults, unaccounted } = await verify('gone')
  assert.deepEqual(told(faults), ['unaccounted 2 hour 0', 'lost 2 4-5'])
  assert.equal(unaccounted, 2)
})

test('a row that is there twice is named, and does not hide one that is gone', async () => {
  await store('twice', upTo(20, 9))
  await store('twice', [3])
  await claim('twice', { stored: 21, first: 0, last: 20, duplicate: 0 })
  await gaps('twice')
  assert.deepEqual(told((await verify('twice')).faults), ['unaccounted 1 hour 0', 'stored-twice 1 3-3', 'lost 1 9-9'])
  await claim('twice', { stored: 20, first: 0, last: 20 })
  await gaps('twice', [9, 9])
  assert.deepEqual(told((await verify('twice')).faults), ['stored-twice 1 3-3'])
})

test('rows that the ledger does not know, and numbers it calls missing that are there', async () => {
  await store('more', upTo(9))
  await store('more', [10], HOUR + HOUR_MS)
  await claim('more', { stored: 10, first: 0, last: 9 })
  await gaps('more', [2, 4])
  assert.deepEqual(told((await verify('more')).faults), ['surplus 1 hour 1', 'not-missing 3 2-4'])
})

test('the command ends with 1 and names device and range; with 0 for a device that is whole; with 2 for one that is not known', async () => {
  const run = (...args: string[]): Promise<{ code: number; stdout: string }> =>
    new Promise((resolve) => {
      const env = { ...process.env, FLEETPULSE_TOKEN: TOKEN }
      execFile(process.execPath, [MAIN, 'verify', 'ledger', '--api', server.origin, ...args], { env }, (error, stdout) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout }),
      )
    })
  for (const id of ['whole', 'gone'])
    assert.equal((await fixture.ask('POST', '/devices', { body: { id, type: 'generic' } })).statusCode, 201)
  const [bad, good, unknown] = await Promise.all([run('--device', 'gone'), run('--device', 'whole', '--json'), run('--device', 'nobody')])
  assert.equal(bad.code, 1, bad.stdout)
  assert.match(bad.stdout, /gone +boot b seq 4 to 5 +2 +received, and not in the store/)
  assert.deepEqual([good.code, (JSON.parse(good.stdout) as { agrees: boolean }).agrees], [0, true])
  assert.equal(unknown.code, 2)
})
