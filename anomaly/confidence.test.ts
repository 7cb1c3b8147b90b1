import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../kernel/random.ts'
import { confidenceOf } from './confidence.ts'
import { TieredDetector } from './ensemble/tiered-detector.ts'
import { behaviours, FAULT_KINDS, seriesOf } from './synthetic-series.ts'

const START_TS = 1_763_680_000_000
const SECOND_MS = 1_000
const READINGS = 3_600
const ALERT_AT = 0.65
/** Abnormal readings nearer to each other than this are one event. */
const EVENT_READINGS = 60
const GRACE_READINGS = 10
const GROUPS = 4

interface Raised {
  confidence: number
  isTrue: boolean
}

/** The anomalies of one series, with a fault somewhere or none. */
function raisedIn(name: string, seed: string, kind: (typeof FAULT_KINDS)[number] | undefined): Raised[] {
  const random = seededRandom(seed)
  const behaviour = behaviours()[name]
  assert.ok(behaviour)
  const at = 1_000 + Math.floor(2_000 * random.next())
  const fault = kind === undefined ? {} : { fault: { kind, at } }
  const { values, faultFrom, faultTo } = seriesOf(behaviour, { readings: READINGS, intervalMs: SECOND_MS, random, ...fault })
  const detector = new TieredDetector({ fullEveryMs: SECOND_MS })
  const state = detector.create()
  const raised: Raised[] = []
  let last = -EVENT_READINGS
  for (const [i, value] of values.entries()) {
    const tsMs = START_TS + i * SECOND_MS
    const novelty = detector.novelty(state, value, tsMs)
    detector.learn(state, value, tsMs)
    if (novelty < ALERT_AT || i < detector.warmUpReadings) continue
    if (i - last >= EVENT_READINGS)
      raised.push({ confidence: confidenceOf(novelty), isTrue: i >= faultFrom && i < faultTo + GRACE_READINGS })
    last = i
  }
  return raised
}

test('of anomalies with a confidence of about p, about p are true (series that the curve was not fitted to)', (t) => {
  const raised: Raised[] = []
  for (const name of Object.keys(behaviours())) {
    for (const kind of FAULT_KINDS) {
      raised.push(
        ...raisedIn(name, `reliability ${name} ${kind} with`, kind),
        ...raisedIn(name, `reliability ${name} ${kind} without`, undefined),
      )
    }
  }
  raised.sort((a, b) => a.confidence - b.confidence)
  let weighted = 0
  for (let group = 0; group < GROUPS; group++) {
    const own = raised.slice(Math.floor((group * raised.length) / GROUPS), Math.floor(((group + 1) * raised.length) / GROUPS))
    const said = own.reduce((sum, { confidence }) => sum + confidence, 0) / own.length
    const are = own.filter(({ isTrue }) => isTrue).length / own.length
    t.diagnostic(`${own.length} with confidence ${said.toFixed(2)}: ${are.toFixed(2)} are true`)
    assert.ok(Math.abs(said - are) <= 0.15, `said ${said}, are ${are}`)
    weighted += (Math.abs(said - are) * own.length) / raised.length
  }
  assert.ok(raised.length >= 40, `${raised.length} are too few to tell`)
  assert.ok(weighted <= 0.1, `mean difference ${weighted}`)
})

test('confidence grows with novelty, from 0 to 1', () => {
  let before = -1
  for (const novelty of [0, 0.3, 0.65, 0.8, 0.95, 0.999, 1]) {
    const confidence = confidenceOf(novelty)
    assert.ok(confidence > before && confidence >= 0 && confidence <= 1)
    before = confidence
  }
})
