import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Anomaly } from '../../contracts/anomaly.ts'
import { gaussian, seededRandom } from '../../kernel/random.ts'
import { replayAnomaly } from '../replay-anomaly.ts'
import type { PastReading, Replayed } from '../replayed.ts'
import type { PeerSummary } from './peer-summary.ts'
import { anomalyConfig, PeerFleet, SLOT_MS, START_TS } from './testing/peer-fleet.ts'

const EVERY_MS = 5_000
const STEPS = 70 * (SLOT_MS / EVERY_MS)
const config = anomalyConfig()
const ODD = 2
const { readings, anomalies, summaries } = live()

/** A fleet one of which leaves the others for a while; the readings of that one. */
function live(): { readings: PastReading[]; anomalies: Anomaly[]; summaries: readonly PeerSummary[] } {
  const random = seededRandom('replayed peers')
  const own: PastReading[] = []
  const fleet = new PeerFleet({ devices: 8, everyMs: EVERY_MS }).run(STEPS, (device, step) => {
    const isOdd = device === ODD && step > STEPS / 3 && step < STEPS / 2
    const values = { flow: 20 + device / 4 + gaussian(random) + (isOdd ? 25 : 0), power: 50 + gaussian(random), on: step % 3 === 0 }
    if (device === ODD) own.push({ ts: START_TS + step * EVERY_MS, values })
    return values
  })
  return { readings: own, anomalies: fleet.anomalies, summaries: fleet.peers.summaries }
}

/** As `fleetpulse replay-anomaly` asks: the readings of the slot, and a few slots after. */
function replay(
  anomaly: Anomaly,
  from: readonly PastReading[] = readings,
  changes: { kept?: boolean; peersMin?: number } = {},
): Promise<Replayed> {
  const slotTs = Number(anomaly.explanation.parameters.slotTs)
  const near = from.filter(({ ts }) => ts >= slotTs && ts < slotTs + 12 * SLOT_MS)
  return replayAnomaly(anomaly, near, anomalyConfig({ peersMin: changes.peersMin ?? config.peersMin }), {
    model: () => Promise.resolve({ status: 'gone', why: 'gone' }),
    peers: (number) => Promise.resolve(changes.kept === false ? null : (summaries.find((one) => one.number === number) ?? null)),
  })
}

test('the readings of the slot and the summary of the others give every anomaly its score again, bit for bit', async () => {
  assert.deepEqual([...new Set(anomalies.map(({ device, phase }) => `${device} ${phase}`))], [`pump-${ODD} raised`, `pump-${ODD} cleared`])
  for (const anomaly of anomalies) {
    const replayed = await replay(anomaly)
    assert.deepEqual(
      [replayed.status, replayed.score, replayed.readings],
      ['same', anomaly.score, SLOT_MS / EVERY_MS],
      JSON.stringify(replayed),
    )
  }
})

test('what changed is named: a summary that is gone, readings that are gone or others than then, settings, an earlier release', async () => {
  const [raised] = anomalies as [Anomaly]
  const { slotTs, summary } = raised.explanation.parameters
  const why = async (...of: Parameters<typeof replay>): Promise<string> => {
    const replayed = await replay(...of)
    assert.equal(replayed.status, 'changed')
    return replayed.status === 'changed' ? replayed.why.join('; ') : ''
  }
  assert.equal(
    await why(raised, readings, { kept: false }),
    `summary ${summary} of its peers is no longer kept (anomaly.peersKept is 2000)`,
  )
  assert.match(await why(raised, []), /flow \(level\) cannot be compared: its readings of the slot are no longer stored/)
  const fewer = readings.filter(({ ts }) => ts !== Number(slotTs) + EVERY_MS)
  assert.match(await why(raised, fewer), /^flow \(level\) was [\d.]+ in the slot, and is [\d.]+ by the 11 readings that are stored$/)
  assert.match(await why(raised, readings, { peersMin: 20 }), /fewer than 20 others have it \(anomaly\.peersMin\)/)
  const { usual: _, ...parameters } = raised.explanation.parameters
  assert.match(await why({ ...raised, explanation: { ...raised.explanation, parameters } }), /a release that did not keep/)
})
