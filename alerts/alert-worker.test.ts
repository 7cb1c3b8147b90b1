import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import fc from 'fast-check'
import type { AlertChange } from '../contracts/alert.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import { seededRandom } from '../kernel/random.ts'
import { systemClock } from '../kernel/time.ts'
import { ALERTS_COLLECTION, type AlertDocument, type StoredAlert } from './alert-document.ts'
import { AlertStore } from './alert-store.ts'
import { Alerts } from './alerts.ts'
import { alertChanges, alertsConfig, alertsOptions, anomaly, anomalyMessage, flakyLog } from './alerts-testing.ts'
import { noFacts, openEngines, readAll, settled, T0, type Engines } from './alerts-testing.ts'
import { AnomalyApplier } from './anomaly-applier.ts'
import { IncidentDesk } from './incidents/incident-desk.ts'
import { MaintenanceView } from './maintenance/maintenance-view.ts'
import { SurroundingsFinder } from './surroundings.ts'

let engines: Engines
beforeEach(async () => {
  engines = await openEngines()
})
afterEach(() => engines.dispose())

/** All alerts but the marks of `settled`, oldest first. */
async function stored(): Promise<StoredAlert[]> {
  const alerts = await engines.documents.collection<AlertDocument>(ALERTS_COLLECTION)
  return alerts.find({ metric: { $ne: 'mark' } }, { sort: { fingerprint: 1, generation: 1 } })
}

async function told(): Promise<AlertChange[]> {
  return (await alertChanges(engines.eventLog)).filter((change) => change.alert.metric !== 'mark')
}

/** Runs a worker over these anomalies until they are committed. */
async function take(anomalies: readonly Anomaly[], alerts: Alerts): Promise<void> {
  await engines.eventLog.append('anomalies', anomalies.map(anomalyMessage))
  await alerts.start()
  await settled(engines.eventLog, [...new Set(anomalies.map((each) => each.device))])
  await alerts.stop()
}

/** What must hold of any run: one alert that is not resolved per fingerprint, and each alert's changes told once, numbered without gap. */
function assertConsistent(alerts: readonly StoredAlert[], changes: readonly AlertChange[]): void {
  const open = alerts.filter((alert) => alert.state !== 'resolved').map((alert) => alert.fingerprint)
  assert.equal(new Set(open).size, open.length, 'two alerts of one fingerprint are open')
  for (const alert of alerts) {
    const sequences = changes.filter((change) => change.alert.id === alert.id).map((change) => change.sequence)
    assert.deepEqual(
      sequences,
      Array.from({ length: alert.sequence }, (_, i) => i + 1),
      `changes told of alert ${alert.id}`,
    )
  }
}

describe('alert worker', () => {
  it('opens one alert for 200 identical triggers appended at once', async () => {
    const alerts = new Alerts(alertsOptions(engines))
    await alerts.start()
    await Promise.all(Array.from({ length: 200 }, () => engines.eventLog.append('anomalies', [anomalyMessage(anomaly())])))
    await settled(engines.eventLog, ['pump-1'])
    await alerts.stop()
    const documents = await stored()
    assert.equal(documents.length, 1)
    assert.equal(documents[0]?.anomalyCount, 200)
    const changes = await told()
    assert.equal(changes.filter((change) => change.change === 'opened').length, 1)
    assertConsistent(documents, changes)
  })

  it('opens one alert for 200 identical triggers applied in parallel by as many workers', async () => {
    const store = new AlertStore({ documents: engines.documents, config: { casAttemptsMax: 1_000 } })
    await store.start()
    const maintenance = new MaintenanceView(alertsOptions(engines))
    await maintenance.start()
    const config = alertsConfig()
    const surroundings = new SurroundingsFinder({ store, facts: noFacts, maintenance, clock: systemClock, config })
    const incidents = new IncidentDesk({ documents: engines.documents, clock: systemClock, config })
    await incidents.start()
    const appliers = Array.from({ length: 200 }, () => new AnomalyApplier({ store, surroundings, incidents, clock: systemClock, config }))
    const changes = await Promise.all(
      appliers.map((applier, partition) => applier.apply([{ anomaly: anomaly(), position: { partition, offset: 0 } }], new Map())),
    )
    await maintenance.stop()
    const documents = await stored()
    assert.equal(documents.length, 1)
    assert.equal(documents[0]?.anomalyCount, 200)
    assert.equal(changes.flat().filter((change) => change.change === 'opened').length, 1)
    assert.deepEqual(
      changes
        .flat()
        .map((change) => change.sequence)
        .toSorted((a, b) => a - b),
      Array.from({ length: 200 }, (_, i) => i + 1),
    )
  })

  it('gives the same with two workers that take partitions from each other', async () => {
    const devices = Array.from({ length: 20 }, (_, i) => `pump-${i}`)
    const workers = [new Alerts(alertsOptions(engines, { batchRecordsMax: 7 })), new Alerts(alertsOptions(engines, { batchRecordsMax: 7 }))]
    await workers[0]?.start()
    for (let round = 0; round < 10; round++) {
      await engines.eventLog.append(
        'anomalies',
        devices.map((device) => anomalyMessage(anomaly({ device }))),
      )
      if (round % 2 === 0) await workers[1]?.start()
      else await workers[1]?.stop()
    }
    await settled(engines.eventLog, devices)
    for (const worker of workers) await worker.stop()
    const documents = await stored()
    assert.equal(documents.length, devices.length)
    for (const document of documents) assert.equal(document.anomalyCount, 10)
    assertConsistent(documents, await told())
  })

  it('loses, repeats and reorders nothing when commits fail at any moment', async () => {
    const step = fc.record({
      device: fc.constantFrom('a', 'b', 'c'),
      phase: fc.constantFrom<Anomaly['phase']>('raised', 'raised', 'cleared'),
      severity: fc.constantFrom<Anomaly['severity']>('warning', 'critical'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), fc.nat(), fc.constantFrom(0, 100), async (steps, seed, quietMs) => {
        await engines.dispose()
        engines = await openEngines()
        let ts = T0
        const anomalies = steps.map((each) => anomaly({ ...each, ts: (ts += 60) }))
        const eventLog = flakyLog(engines.eventLog, seededRandom(seed), 0.5)
        const never = 60_000
        await take(
          anomalies,
          new Alerts({ ...alertsOptions(engines, { batchRecordsMax: 5, resolveQuietMs: quietMs, sweepIntervalMs: never }), eventLog }),
        )
        const documents = await stored()
        assertConsistent(documents, await told())
        const raised = anomalies.filter((each) => each.phase === 'raised').length
        assert.equal(
          documents.reduce((sum, document) => sum + document.anomalyCount, 0),
          raised,
        )
      }),
      { numRuns: 15 },
    )
  })

  it('does so for one cause whose anomalies lie in several partitions, as they do when a topic gets more of them', async () => {
    const step = fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', 'e'),
      phase: fc.constantFrom<Anomaly['phase']>('raised', 'raised', 'cleared'),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), fc.nat(), async (steps, seed) => {
        await engines.dispose()
        engines = await openEngines(4)
        const anomalies = steps.map(({ phase }, i) => anomaly({ phase, ts: T0 + i * 60 }))
        await engines.eventLog.append(
          'anomalies',
          anomalies.map((each, i) => ({ ...anomalyMessage(each), key: `default/${steps[i]?.key}` })),
        )
        const eventLog = flakyLog(engines.eventLog, seededRandom(seed), 0.5)
        const limits = { batchRecordsMax: 5, anomalyIdsMax: 1, resolveQuietMs: 0, sweepIntervalMs: 60_000 }
        const alerts = new Alerts({ ...alertsOptions(engines, limits), eventLog })
        await alerts.start()
        await settled(engines.eventLog, ['a', 'b', 'c', 'd', 'e'])
        await alerts.stop()
        const [documents, changes] = [await stored(), await told()]
        assertConsistent(
          documents,
          changes.toSorted((a, b) => a.sequence - b.sequence),
        )
        const counted = documents.reduce((sum, { anomalyCount }) => sum + anomalyCount, 0)
        assert.equal(counted, anomalies.filter(({ phase }) => phase === 'raised').length)
      }),
      { numRuns: 25 },
    )
  })

  it('tells what two alerts of one batch went through when its first commit fails', async () => {
    const script = [0, 1, 1, 1, 1, 1, 1, 1]
    const eventLog = flakyLog(engines.eventLog, { next: () => script.shift() ?? 1 }, 0.5)
    const phases: Anomaly['phase'][] = ['raised', 'cleared', 'raised', 'raised', 'cleared', 'raised']
    await take(
      phases.map((phase) => anomaly({ phase })),
      new Alerts({ ...alertsOptions(engines, { resolveQuietMs: 0 }), eventLog }),
    )
    const [documents, changes] = [await stored(), await told()]
    assert.deepEqual(
      documents.map((document) => [document.state, document.anomalyCount]),
      [
        ['resolved', 1],
        ['resolved', 2],
        ['open', 1],
      ],
    )
    assertConsistent(documents, changes)
    assert.deepEqual(
      changes.map((change) => change.change),
      ['opened', 'resolved', 'opened', 'repeated', 'resolved', 'opened'],
    )
  })

  it('takes an anomaly of the same id once, even appended again', async () => {
    const first = anomaly()
    await take([first, first, anomaly(), first], new Alerts(alertsOptions(engines)))
    assert.equal((await stored())[0]?.anomalyCount, 2)
  })

  it('keeps a bounded history in which repeats count as one, and raises the severity to the worst', async () => {
    const repeats = Array.from({ length: 30 }, (_, i) =>
      anomaly({ severity: i === 20 ? 'critical' : 'warning', score: i === 20 ? 1 : 0.5 }),
    )
    await take(repeats, new Alerts(alertsOptions(engines, { batchRecordsMax: 1 })))
    const [alert] = await stored()
    assert.equal(alert?.severity, 'critical')
    assert.equal(alert?.maxScore, 1)
    assert.deepEqual(
      alert?.history.map((entry) => entry.action),
      ['repeated', 'severity-changed', 'repeated', 'opened'],
    )
    assert.deepEqual([alert?.firstAnomalyId, alert?.lastAnomalyId], [repeats[0]?.id, repeats.at(-1)?.id])
    assert.equal((await told()).filter((change) => change.change === 'severity-changed').length, 1)
  })

  it('counts what a full history drops', async () => {
    const flaps = Array.from({ length: 20 }, (_, i) => anomaly({ severity: i % 2 === 0 ? 'warning' : 'critical', metric: 'm' }))
    const store = new AlertStore({ documents: engines.documents, config: { casAttemptsMax: 10 } })
    await store.start()
    await take(flaps.slice(0, 1), new Alerts(alertsOptions(engines)))
    const [opened] = await stored()
    const alerts = new Alerts(alertsOptions(engines, { historyMax: 5 }))
    await alerts.start()
    const operator = { kind: 'user', id: 'ana', tenant: 'default', roles: ['operator'] } as const
    for (let i = 0; i < 9; i++) await alerts.service.silence(operator, { id: opened?.id ?? '', untilMs: systemClock.nowMs() + 60_000 })
    await alerts.stop()
    const [alert] = await stored()
    assert.equal(alert?.history.length, 5)
    assert.equal(alert?.historyDropped, 5)
  })

  it('sets poison aside with its cause and goes on', async () => {
    const key = 'default/pump-1'
    await engines.eventLog.append('anomalies', [
      { key, schema: 'anomaly/1', value: Buffer.from('{"id":') },
      { key, schema: 'anomaly/9', value: Buffer.from('{}') },
      { key, schema: 'anomaly/1', value: Buffer.from(JSON.stringify({ ...anomaly(), score: 7 })) },
    ])
    await take([anomaly()], new Alerts(alertsOptions(engines)))
    assert.equal((await stored()).length, 1)
    const dead = await readAll(engines.eventLog, 'anomalies.dlq')
    assert.deepEqual(
      dead.map((record) => record.headers['dlq-cause']?.slice(0, 12)),
      ['not JSON: Un', 'schema is an', 'score must b'],
    )
    assert.equal(Buffer.from(dead[0]?.value ?? []).toString(), '{"id":')
    assert.equal(dead[0]?.headers['dlq-topic'], 'anomalies')
  })

  it('tells the whole alert with its explanation and correlation id', async () => {
    await take([anomaly({ correlationId: 'c-77', ts: T0 + 5 })], new Alerts(alertsOptions(engines)))
    const [change] = await told()
    assert.equal(change?.id, `${change?.alert.id}-1`)
    assert.equal(change?.alert.startedAt, T0 + 5)
    assert.equal(change?.alert.correlationId, 'c-77')
    assert.match(JSON.stringify(change?.alert.explanation), /expected 20 to 25/)
    assert.equal('outbox' in (change?.alert ?? {}), false)
    const [record] = (await readAll(engines.eventLog, 'alerts')).filter(({ schema }) => schema.startsWith('alert/'))
    assert.equal(record?.schema, 'alert/2')
    assert.equal(record?.key, 'default/pump-1')
  })

  it('starts and stops any number of times', async () => {
    const alerts = new Alerts(alertsOptions(engines))
    await alerts.start()
    await alerts.start()
    await alerts.stop()
    await alerts.stop()
    await take([anomaly()], alerts)
    assert.equal((await stored()).length, 1)
  })
})
