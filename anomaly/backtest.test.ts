import assert from 'node:assert/strict'
import { test } from 'node:test'
import { seededRandom } from '../kernel/random.ts'
import { compareDetectors, replayPast, type LabelledPast } from './backtest.ts'
import { detectorByVersion } from './detectors-by-version.ts'
import { behaviours, seriesOf } from './synthetic-series.ts'

const START_TS = 1_763_680_000_000
const MINUTE_MS = 60_000
const FAULT_AT = 1_500

function past(seed: number, labelled = true): LabelledPast {
  const behaviour = behaviours()['noise']
  assert.ok(behaviour)
  const fault = { kind: 'level shift', at: FAULT_AT } as const
  const { values, faultFrom, faultTo } = seriesOf(behaviour, {
    readings: 2_000,
    intervalMs: MINUTE_MS,
    random: seededRandom(`past ${seed}`),
    fault,
  })
  const tsMs = values.map((_, i) => START_TS + i * MINUTE_MS)
  const windows: [number, number][] = [[START_TS + faultFrom * MINUTE_MS, START_TS + faultTo * MINUTE_MS]]
  return { name: `past ${seed}`, tsMs, values, ...(labelled ? { windows } : {}) }
}

test('a detector is replayed over labelled series: windows found, false events', () => {
  const outcome = replayPast(detectorByVersion('ensemble@1'), past(1), 0.65)
  assert.deepEqual([outcome.readings, outcome.windows, outcome.windowsFound, outcome.falseEvents], [2_000, 1, 1, 0])
  const unlabelled = replayPast(detectorByVersion('ensemble'), past(1, false), 0.65)
  assert.deepEqual([unlabelled.windows, unlabelled.falseEvents], [0, unlabelled.events])
})

test('detectors side by side: bounds hold the value, equal detectors differ by nothing, the same again gives the same', () => {
  const pasts = [1, 2, 3, 4, 5, 6].map((seed) => past(seed))
  const outcomesOf = (name: string, threshold: number) => pasts.map((series) => replayPast(detectorByVersion(name), series, threshold))
  const outcomes = new Map([
    ['ensemble@1', outcomesOf('ensemble', 0.65)],
    ['again', outcomesOf('ensemble', 0.65)],
    ['deaf', outcomesOf('ensemble', 1.1)],
  ])
  const [first, again, deaf] = compareDetectors(outcomes)
  assert.ok(first?.recall && again?.against?.recall && deaf?.recall && deaf.against?.recall)
  assert.deepEqual(first.recall, { value: 1, low: 1, high: 1 })
  assert.equal(first.against, null)
  assert.deepEqual(again.against.recall, { value: 0, low: 0, high: 0 })
  assert.deepEqual([deaf.recall.value, deaf.against.recall.value, deaf.events, deaf.precision?.value], [0, -1, 0, 1])
  for (const { falseEventsPer1000 } of [first, again, deaf]) {
    assert.ok(falseEventsPer1000.low <= falseEventsPer1000.value && falseEventsPer1000.value <= falseEventsPer1000.high)
  }
  assert.deepEqual(compareDetectors(outcomes), [first, again, deaf])
})

test('without labels there is no recall, and unknown detectors and versions are refused by name', () => {
  const [report] = compareDetectors(new Map([['ensemble@1', [replayPast(detectorByVersion('ensemble'), past(1, false), 0.65)]]]))
  assert.deepEqual([report?.recall, report?.precision], [null, null])
  assert.throws(() => detectorByVersion('oracle'), { code: 'INVALID_INPUT', message: 'there is no detector "oracle"' })
  assert.throws(() => detectorByVersion('ensemble@99'), { code: 'INVALID_INPUT', message: 'detector ensemble is of version 1, not 99' })
  assert.throws(() => detectorByVersion('constructor'), { code: 'INVALID_INPUT' })
})
