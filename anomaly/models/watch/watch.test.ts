import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ANOMALY_CAUSES, type Anomaly } from '../../../contracts/anomaly.ts'
import { MODEL_CHECKS } from '../../../contracts/model.ts'
import { gaussian, seededRandom } from '../../../kernel/random.ts'
import type { ModelManifest } from '../model-file.ts'
import type { CardDocument, ModelLine, ObservedHour } from '../model-store.ts'
import { newLine } from '../model-store.ts'
import { decilesOf, nothingObserved, observe, sharesOf, stabilityIndex } from '../observations.ts'
import { modelsConfig } from '../testing/trained-model.ts'
import { modelAlert } from './model-alerts.ts'
import { firstTrainingDue, retrainingDue } from './retraining.ts'
import { watchModel } from './watch.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const NOW_MS = 1_763_680_000_000
/** Deciles of a normal distribution. */
const DECILES = [-1.2816, -0.8416, -0.5244, -0.2533, 0, 0.2533, 0.5244, 0.8416, 1.2816]
const TENTHS = new Array<number>(10).fill(0.1)
const manifest = {
  metrics: [
    { name: 'flow', deciles: DECILES, shares: TENTHS },
    { name: 'speed', deciles: DECILES, shares: TENTHS },
  ],
  scoreDeciles: DECILES.map((edge) => 0.3 + 0.1 * edge),
  scoreShares: TENTHS,
} as ModelManifest

interface HourOptions {
  hoursAgo: number
  rows?: number
  alarms?: number
  /** What `speed` is moved by. */
  shift?: number
}

function hourOf({ hoursAgo, rows = 300, alarms = 0, shift = 0 }: HourOptions): ObservedHour {
  const random = seededRandom(hoursAgo)
  const seen = nothingObserved(2)
  for (let row = 0; row < rows; row++)
    observe(seen, manifest, Float32Array.of(gaussian(random), gaussian(random) + shift), 2, 0.3 + 0.1 * gaussian(random))
  return { model: 'm', hour: Math.floor((NOW_MS - hoursAgo * HOUR_MS) / HOUR_MS) * HOUR_MS, ...seen, alarms }
}

const day = (changes: Partial<HourOptions> = {}): ObservedHour[] =>
  Array.from({ length: 20 }, (_, k) => hourOf({ hoursAgo: k + 1, ...changes }))
const watch = (hours: readonly ObservedHour[], changes: object = {}) =>
  watchModel({ manifest, hours, confirmed: 0, rejected: 0, trainedAt: NOW_MS - DAY_MS, nowMs: NOW_MS, config: modelsConfig(), ...changes })

test('the stability index is near 0 for the same distribution and grows with its change', () => {
  const index = (shift: number): number => stabilityIndex(hourOf({ hoursAgo: 3, rows: 5_000, shift }).inputs[1]!, TENTHS)
  assert.ok(index(0) < 0.02)
  assert.ok(index(0.3) > 0.05 && index(0.3) < 0.25)
  assert.ok(index(1) > 0.5)
})

test('a constant metric is no drift as long as it stays, and is one when it moves either way', () => {
  const values = new Float64Array(100).fill(5)
  const deciles = decilesOf(values)
  const shares = sharesOf(deciles, values)
  const spec = { metrics: [{ deciles }], scoreDeciles: DECILES } as ModelManifest
  const index = (value: number): number => {
    const seen = nothingObserved(1)
    for (let row = 0; row < 100; row++) observe(seen, spec, Float32Array.of(value), 1, 0)
    return stabilityIndex(seen.inputs[0]!, shares)
  }
  assert.ok(index(5) < 1e-9)
  assert.ok(index(5.1) > 1 && index(4.9) > 1)
})

test('nothing is said of a model that does as it did', () => {
  const seen = watch(day())
  assert.deepEqual(seen.alerts, [])
  assert.equal(seen.rows, 6_000)
  assert.ok(seen.inputDrift! < 0.05 && seen.scoreDrift! < 0.05)
  assert.equal(watch(day({ rows: 10 })).inputDrift, null, 'too few rows tell nothing')
})

test('drift of what comes in is told, with the metric', () => {
  const seen = watch(day({ shift: 1 }))
  assert.deepEqual([seen.alerts, seen.driftedMetric], [['input-drift'], 'speed'])
})

test('an hour with more alarms than chance brings is told, one with a few is not', () => {
  const usual = day({ alarms: 1 })
  assert.deepEqual(watch([...usual, hourOf({ hoursAgo: 0, alarms: 3 })]).alerts, [])
  const seen = watch([...usual, hourOf({ hoursAgo: 0, alarms: 12 })])
  assert.deepEqual(seen.alerts, ['alarm-rate'])
  assert.ok(seen.alarmRate === 12 && seen.alarmRateLimit! > 3 && seen.alarmRateLimit! < 5)
  assert.equal(watch(usual.slice(0, 5)).alarmRateLimit, null, 'too few hours tell nothing')
})

test('precision on feedback and age are told', () => {
  assert.deepEqual(watch(day(), { confirmed: 1, rejected: 3 }).alerts, [], 'too few judgements')
  assert.deepEqual(watch(day(), { confirmed: 1, rejected: 9 }).alerts, ['precision'])
  assert.deepEqual(watch(day(), { confirmed: 9, rejected: 1 }).precision, 0.9)
  assert.deepEqual(watch(day(), { trainedAt: NOW_MS - 31 * DAY_MS }).alerts, ['stale'])
})

test('every check has an alert of its own that says what to do', () => {
  const texts = new Set<string>()
  for (const check of MODEL_CHECKS) {
    const say = (phase: Anomaly['phase']): Anomaly =>
      JSON.parse(
        Buffer.from(
          modelAlert({ tenant: 'default', type: 'pump', version: 3, check, phase, watch: watch(day()), why: 'because', nowMs: NOW_MS })
            .value,
        ).toString(),
      ) as Anomaly
    const raised = say('raised')
    assert.ok(ANOMALY_CAUSES.includes(raised.cause))
    assert.match(raised.explanation.text, /^Model pump@3: .+\. [A-Z].+\.$/)
    assert.equal(say('cleared').metric, raised.metric, 'the same alert')
    texts.add(raised.metric)
  }
  assert.equal(texts.size, MODEL_CHECKS.length)
})

test('a type is trained anew by schedule, drift or feedback, and not without a pause', () => {
  const config = modelsConfig({ retrainLabels: 3 })
  const card = (changes: Partial<CardDocument>) =>
    ({
      number: 1,
      askedAt: NOW_MS - 2 * DAY_MS,
      trainedAt: NOW_MS - 2 * DAY_MS,
      dataset: { readAt: NOW_MS - 2 * DAY_MS },
      watch: null,
      ...changes,
    }) as CardDocument
  const line: ModelLine = { ...newLine('default', 'pump'), lastVersion: 1, champion: 1 }
  const due = (changes: Partial<CardDocument> = {}, roles: Partial<ModelLine> = {}, labels = 0) =>
    retrainingDue({
      line: { ...line, ...roles },
      cards: [card(changes)],
      labels: Array.from({ length: labels }, () => ({ updatedAt: NOW_MS - 1 })) as never,
      nowMs: NOW_MS,
      config,
    })
  const drifted = { ...watch(day({ shift: 1 })) }
  assert.equal(due(), null)
  assert.equal(due({ askedAt: NOW_MS - 8 * DAY_MS }), 'schedule')
  assert.equal(due({ watch: drifted }), 'drift')
  assert.equal(due({}, {}, 2), null)
  assert.equal(due({}, {}, 3), 'feedback')
  assert.equal(due({ watch: drifted, askedAt: NOW_MS - 1_000 }), null, 'soon after the last')
  assert.equal(due({ watch: drifted }, { training: 2 }), null, 'while one is on its way')
  assert.equal(due({ trainedAt: null, askedAt: NOW_MS - 30 * DAY_MS }), null, 'never the first time')
  assert.equal(retrainingDue({ line, cards: [], labels: [], nowMs: NOW_MS, config }), null)
})

test('a type is trained the first time without being asked until it has a model, with a pause after one that failed', () => {
  const config = modelsConfig({ retrainGapMs: 1_000 })
  const failed = { number: 1, askedAt: NOW_MS - 500, trainedAt: null } as CardDocument
  const due = (cards: readonly CardDocument[], training: number | null = null): boolean =>
    firstTrainingDue({ line: cards.length === 0 ? null : ({ training } as ModelLine), cards, nowMs: NOW_MS, config })
  assert.deepEqual(
    [
      due([]),
      due([failed]),
      due([{ ...failed, askedAt: NOW_MS - 1_000 }]),
      due([{ ...failed, askedAt: 0 }], 2),
      due([{ ...failed, askedAt: 0, trainedAt: 1 }]),
    ],
    [true, false, true, false, false],
  )
})
