import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../kernel/random.ts'
import { compileSchema } from '../kernel/schema.ts'
import { AnomalyConfigSchema } from './config.ts'
import { TieredDetector } from './ensemble/tiered-detector.ts'
import { behaviours, FAULT_KINDS, seriesOf } from './synthetic-series.ts'

const START_TS = 1_763_680_000_000
const SECOND_MS = 1_000
const FAULT_AT = 3_000
const SEEDS = 5
/** A spike is over at once; its traces may take a few readings to add up. */
const GRACE_READINGS = 10

function threshold(): number {
  const checked = compileSchema(AnomalyConfigSchema)({})
  assert.ok(checked.status === 'valid')
  return checked.value.alertThreshold
}

function noveltiesOf(values: readonly number[]): Float64Array {
  const detector = new TieredDetector({ fullEveryMs: SECOND_MS })
  const state = detector.create()
  return Float64Array.from(values, (value, i) => {
    const novelty = detector.novelty(state, value, START_TS + i * SECOND_MS)
    detector.learn(state, value, START_TS + i * SECOND_MS)
    return novelty
  })
}

test('recall per behaviour and fault at the default threshold', (t) => {
  const alertThreshold = threshold()
  const found = new Map<string, number>()
  const names = Object.keys(behaviours())
  for (const name of names) {
    for (const kind of FAULT_KINDS) {
      for (let seed = 0; seed < SEEDS; seed++) {
        const behaviour = behaviours()[name]
        assert.ok(behaviour)
        const options = { readings: FAULT_AT + 320, intervalMs: SECOND_MS, random: seededRandom(`${name} ${kind} ${seed}`) }
        const series = seriesOf(behaviour, { ...options, fault: { kind, at: FAULT_AT } })
        const window = noveltiesOf(series.values).subarray(series.faultFrom, series.faultTo + GRACE_READINGS)
        if (window.some((novelty) => novelty >= alertThreshold)) found.set(`${name}/${kind}`, (found.get(`${name}/${kind}`) ?? 0) + 1)
      }
    }
  }
  const share = (cells: string[]): number => cells.reduce((sum, cell) => sum + (found.get(cell) ?? 0), 0) / (cells.length * SEEDS)
  t.diagnostic(`${'found of 5'.padEnd(14)}${FAULT_KINDS.map((kind) => kind.padStart(13)).join('')}`)
  for (const name of names)
    t.diagnostic(`${name.padEnd(14)}${FAULT_KINDS.map((kind) => String(found.get(`${name}/${kind}`) ?? 0).padStart(13)).join('')}`)
  for (const [kind, least] of Object.entries(RECALL_LEAST)) {
    const recall = share(names.map((name) => `${name}/${kind}`))
    t.diagnostic(`${kind}: ${(100 * recall).toFixed(0)} %`)
    assert.ok(recall >= least, `${kind}: ${recall}`)
  }
})

/** What is found today, a little loosened: a change that loses recall is seen. */
const RECALL_LEAST = { spike: 0.75, 'level shift': 0.85, drift: 0.85, 'noise burst': 0.9, stuck: 0.85 }

/** Abnormal readings nearer to each other than this are one event. */
const EVENT_READINGS = 60

function eventsIn(novelties: Float64Array, alertThreshold: number): number {
  let events = 0
  let last = -EVENT_READINGS
  for (const [i, novelty] of novelties.entries()) {
    if (novelty < alertThreshold) continue
    if (i - last >= EVENT_READINGS) events++
    last = i
  }
  return events
}

test('clean series of a reading a second: at most one false event a day in the mean', (t) => {
  const alertThreshold = threshold()
  const halfDayReadings = 43_200
  let events = 0
  const names = Object.keys(behaviours())
  for (const name of names) {
    const behaviour = behaviours()[name]
    assert.ok(behaviour)
    const { values } = seriesOf(behaviour, { readings: halfDayReadings, intervalMs: SECOND_MS, random: seededRandom(`clean ${name}`) })
    const own = eventsIn(noveltiesOf(values), alertThreshold)
    t.diagnostic(`${name}: ${own} false events in half a day`)
    events += own
  }
  assert.ok(events <= names.length / 2, `${events} in ${names.length} half days`)
})
