import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { LocalServers } from '../../deploy/servers/local-servers.ts'
import { CALAMITIES, chaosRun, DISORDER } from '../testing/chaos.ts'
import { Cluster } from '../testing/cluster.ts'

/*
 * Stored once, through anything: 2 000 readings/s from 200 devices while processes and servers die, and what goes wrong with devices
 * meanwhile is talked about by agents to its end, nothing said twice. The servers are the test's own, because
 * it kills them. TEST_SEED and TEST_CHAOS_ROUNDS (how often each calamity happens) replay and prolong it.
 */

const WINDOW_SIZE_MS = 5_000
const LOG_SHOWN_CHARACTERS = 3_000
const folder = mkdtempSync(join(tmpdir(), 'fleetpulse-chaos-'))
const servers = new LocalServers(folder)
const alive = setInterval(() => undefined, 1_000)
let cluster: Cluster | undefined
after(async () => {
  clearInterval(alive)
  await cluster?.remove()
  await servers.stop()
  rmSync(folder, { recursive: true, force: true })
})

test('nothing acknowledged is lost or doubled while processes and servers die', async (t) => {
  const seed = Number(process.env.TEST_SEED ?? 20_261_121)
  const rounds = Number(process.env.TEST_CHAOS_ROUNDS ?? 1)
  await servers.start()
  const { kafka, questdb, mongodb } = servers
  const addresses = { kafka: kafka.address, questdbHttp: questdb.address, questdbPg: questdb.pgAddress, mongodb: mongodb.address }
  cluster = new Cluster(addresses, 'chaos', {
    FLEETPULSE_WINDOWS_WINDOWS: JSON.stringify([{ kind: 'tumbling', sizeMs: WINDOW_SIZE_MS, slideMs: WINDOW_SIZE_MS }]),
    FLEETPULSE_WINDOWS_IDLE_TIMEOUT_MS: '600000',
    FLEETPULSE_WINDOWS_OUT_OF_ORDERNESS_MS: '0',
    FLEETPULSE_PROCESSING_CHECKPOINT_MS: '3000',
    // What goes wrong one after the other is an incident apiece, not one of the whole fleet.
    FLEETPULSE_ALERTS_INCIDENT_BURST_MS: '1000',
  })
  await cluster.add('registry', 'registry')
  await cluster.add('dashboard', 'dashboard')
  await cluster.add('edge-1', 'edge')
  await cluster.add('edge-2', 'edge')
  await cluster.add('processing-1', 'processing')
  await cluster.add('processing-2', 'processing')
  await cluster.add('anomaly-1', 'anomaly')
  await cluster.add('alerts-1', 'alerts')
  const agents = await cluster.add('agents-1', 'agents')
  const startedMs = performance.now()
  const report = await chaosRun({
    cluster,
    servers,
    seed,
    devices: 200,
    ratePerS: 2_000,
    calamities: Array.from({ length: rounds }, () => CALAMITIES).flat(),
    pauseMs: [500, 3_000],
    windowSizeMs: WINDOW_SIZE_MS,
    windowDevices: 20,
    onProgress: (text) => t.diagnostic(`after ${Math.round((performance.now() - startedMs) / 1_000)} s: ${text}`),
  }).catch((error: unknown) => {
    for (const member of cluster?.members ?? []) t.diagnostic(`${member.name}: ${member.process.stderr.slice(-LOG_SHOWN_CHARACTERS)}`)
    throw error
  })
  if (report.conversationFaults.length > 0) t.diagnostic(`agents-1: ${agents.process.stderr.slice(-LOG_SHOWN_CHARACTERS)}`)
  t.diagnostic(JSON.stringify({ ...report, windowFaults: report.windowFaults.slice(0, 5) }))
  const { lost, duplicated, outOfOrder } = report
  assert.deepEqual({ lost, duplicated, outOfOrder }, { lost: 0, duplicated: 0, outOfOrder: 0 }, `seed ${seed}`)
  assert.equal(
    report.ledger.acked,
    (report.ledger.stored ?? 0) + (report.ledger.rejected ?? 0) + (report.ledger.duplicate ?? 0),
    `seed ${seed}`,
  )
  assert.ok((report.ledger.duplicate ?? 0) > report.acked * DISORDER.repeatShare * 0.5, 'repeated publishes were counted')
  assert.deepEqual(report.windowFaults, [], `seed ${seed}`)
  assert.ok(report.windowsChecked > 0, 'windows were compared')
  assert.deepEqual(report.conversationFaults, [], `seed ${seed}`)
  assert.ok(report.digests >= report.incidents && report.incidents > 0, 'incidents were talked about')
})
