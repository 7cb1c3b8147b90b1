import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { labelsOf } from '../contracts/alert.ts'
import type { Anomaly, AnomalyRule } from '../contracts/anomaly.ts'
import { ANOMALY_CAUSES } from '../contracts/anomaly.ts'
import { spanOf } from '../contracts/evidence.ts'
import type { AlertView } from './alert-service.ts'
import { Alerts } from './alerts.ts'
import { alertsOptions, anomaly, anomalyMessage, openEngines, operator, settled, T0, type Engines } from './alerts-testing.ts'

let engines: Engines
let alerts: Alerts
beforeEach(async () => {
  engines = await openEngines(1)
  alerts = new Alerts(alertsOptions(engines, { resolveQuietMs: 60_000 }))
  await alerts.start()
})
afterEach(async () => {
  await alerts.stop()
  await engines.dispose()
})

const rule = (id: string, version = 1): AnomalyRule => ({ id, version, name: `rule ${id}`, summary: 'Too much.', remedy: 'Open valve 3.' })

async function say(...changes: Partial<Anomaly>[]): Promise<AlertView[]> {
  await engines.eventLog.append(
    'anomalies',
    changes.map((each) => anomalyMessage(anomaly(each))),
  )
  await settled(engines.eventLog, ['pump-1'])
  const { items } = await alerts.service.list(operator)
  return items.filter(({ metric }) => metric !== 'mark').toReversed()
}

test('each rule has alerts of its own, which carry what it says', async () => {
  const items = await say(
    { cause: 'rule', rule: rule('a') },
    { cause: 'rule', rule: rule('b') },
    { cause: 'rule', rule: rule('a', 2), ts: T0 + 1 },
  )
  const byTitle = items.toSorted((one, other) => (one.title < other.title ? -1 : 1))
  assert.deepEqual(
    byTitle.map(({ title, anomalyCount }) => [title, anomalyCount]),
    [
      ['rule a: temperature of pump-1', 2],
      ['rule b: temperature of pump-1', 1],
    ],
  )
  const [first] = byTitle
  assert.ok(first !== undefined)
  assert.deepEqual(first.rule, rule('a'), 'as it was when the alert opened')
  assert.equal(labelsOf(first).rule, 'rule a', 'routes can name it')
})

test('what a corrected window takes back is resolved at once, and says why', async () => {
  const window = { kind: 'tumbling' as const, startTs: T0, endTs: T0 + 60_000, id: 'w', revision: 1, aggregate: 'max', value: 90 }
  const evidence = { readings: [], window, versions: { rule: 'a', ruleVersion: 1 } }
  const about = { cause: 'rule' as const, rule: rule('a'), ts: T0 + 60_000 }
  const [open] = await say({ ...about, evidence })
  assert.deepEqual([open?.state, open?.evidence.window?.revision], ['open', 1])
  const corrected = { ...evidence, window: { ...window, revision: 2, value: 60 } }
  const text = { ...anomaly().explanation, text: 'max is 60 after a correction' }
  const [over] = await say({ ...about, phase: 'cleared', retracted: true, evidence: corrected, explanation: text })
  assert.deepEqual([over?.state, over?.evidence.window?.revision, over?.evidence.window?.value], ['resolved', 2, 60])
  assert.equal(over?.history[0]?.note, 'retracted: max is 60 after a correction')
})

test('what is cleared waits for its quiet time, retracted meanwhile it does not', async () => {
  const about = { cause: 'rule' as const, rule: rule('a') }
  const [waiting] = await say(about, { ...about, phase: 'cleared', ts: T0 + 1 })
  assert.equal(waiting?.state, 'open')
  const [over] = await say({ ...about, phase: 'cleared', retracted: true, ts: T0 + 1 })
  assert.equal(over?.state, 'resolved')
})

test('every cause that there is opens an alert with a title, readings, a window and versions', async () => {
  for (const [i, cause] of ANOMALY_CAUSES.entries()) {
    const evidence = { readings: [], window: spanOf(T0, T0 + 1), versions: { detector: cause, detectorVersion: i } }
    await say({ cause, metric: `metric-${i}`, evidence })
  }
  const { items } = await alerts.service.list(operator, { limit: 100 })
  const told = items.filter(({ metric }) => metric !== 'mark')
  assert.deepEqual(told.map(({ cause }) => cause).toSorted(), [...ANOMALY_CAUSES].toSorted())
  for (const { title, evidence, cause, explanation } of told) {
    assert.ok(title.length > 5)
    assert.deepEqual([evidence.versions.detector, evidence.window], [cause, spanOf(T0, T0 + 1)])
    assert.ok(explanation !== null)
  }
})
