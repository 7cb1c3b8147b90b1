import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import fc from 'fast-check'
import { INCIDENT, isIncidentNoticed, type IncidentChange } from '../../contracts/incident.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import { ConflictError, NotFoundError } from '../../kernel/errors.ts'
import { seededRandom } from '../../kernel/random.ts'
import { VirtualClock } from '../../kernel/time.ts'
import type { AlertView } from '../alert-service.ts'
import { Alerts } from '../alerts.ts'
import {
  alertsConfig,
  alertsOptions,
  anomaly,
  anomalyMessage,
  openEngines,
  operator,
  readAll,
  stranger,
  T0,
  until,
  type Engines,
} from '../alerts-testing.ts'
import type { AlertsConfig } from '../config.ts'
import { decide } from './incident-desk.ts'
import type { DeskEntry } from './incident-document.ts'
import type { IncidentView } from './incident-service.ts'

const MINUTE = 60_000
let engines: Engines
let clock: VirtualClock
let alerts: Alerts
let labels: Record<string, Record<string, string>>

async function begin(changes: Partial<AlertsConfig> = {}): Promise<void> {
  alerts = new Alerts({
    ...alertsOptions(engines, { incidentRecountMs: 100, ...changes }, clock),
    facts: { labelsOf: async (_tenant, device) => labels[device] ?? {} },
  })
  await alerts.start()
}
beforeEach(async () => {
  engines = await openEngines(1)
  clock = new VirtualClock(T0)
  labels = {}
  await begin()
})
afterEach(async () => {
  await alerts.stop()
  await engines.dispose()
})

async function say(...said: Partial<Anomaly>[]): Promise<void> {
  await clock.advance(1)
  await engines.eventLog.append(
    'anomalies',
    said.map((each) => anomalyMessage(anomaly({ ts: clock.nowMs(), ...each }))),
  )
}
async function incidents(): Promise<IncidentView[]> {
  return (await alerts.service.list(operator), await alerts.incidents.list(operator, { limit: 200 })).items.toReversed()
}
async function told(): Promise<IncidentChange[]> {
  const records = await readAll(engines.eventLog, 'alerts')
  const changes = records
    .filter(({ schema }) => schema === INCIDENT)
    .map(({ value }) => JSON.parse(Buffer.from(value).toString()) as IncidentChange)
  // Two who change it at once may each append the other's message too, under its one id.
  return [...new Map(changes.map((change) => [change.id, change])).values()]
}
/** The message follows the document: waits until these were told, in this order, and nothing else. */
async function assertTold(wanted: string[], all: (change: IncidentChange) => boolean = () => true): Promise<void> {
  const kinds = async (): Promise<string[]> => (await told()).filter(all).map(({ change }) => change)
  await until(`${wanted.join(', ')} is told`, async () => (await kinds()).length >= wanted.length)
  assert.deepEqual(await kinds(), wanted)
}
async function alertsOf(incident: string): Promise<AlertView[]> {
  return (await alerts.service.list(operator, { incident, limit: 200 })).items
}
/** Until the incidents are as wanted; time goes on so that they are counted. */
function when(what: string, condition: (all: IncidentView[]) => boolean): Promise<IncidentView[]> {
  return until(what, async () => {
    await clock.advance(1_000)
    await alerts.sweeping()
    const all = await incidents()
    return condition(all) ? all : null
  })
}

describe('incidents', () => {
  it('take together what is of one device, whatever the cause, and tell it once', async () => {
    await say({ metric: 'temperature' }, { metric: 'pressure' }, { metric: '', cause: 'silence' })
    const [incident] = await when('all are counted', (all) => all[0]?.alertCount === 3)
    assert.deepEqual([incident?.level, incident?.device, incident?.openCount, incident?.devices], ['device', 'pump-1', 3, ['pump-1']])
    assert.equal((await alertsOf(incident?.id ?? '')).length, 3)
    await assertTold(['opened'])
  })

  it('make few of a storm from one cause, whatever the devices, types and places, with one notice each', async () => {
    for (let i = 0; i < 300; i++) labels[`d-${i}`] = { site: `site-${i % 40}` }
    const storm = Array.from({ length: 300 }, (_, i) => ({
      device: `d-${i}`,
      type: `type-${i % 5}`,
      metric: '',
      cause: 'silence' as const,
      severity: i % 7 === 0 ? ('critical' as const) : ('warning' as const),
    }))
    for (let i = 0; i < storm.length; i += 50) await say(...storm.slice(i, i + 50))
    const all = await when('all are counted', (found) => found.reduce((sum, { alertCount }) => sum + alertCount, 0) === 300)
    assert.ok(all.length <= 5, `${all.length} incidents`)
    // All open in the same millisecond, so their order says nothing.
    assert.equal(all.filter(({ level }) => level === 'cause').length, 1)
    const notices = (await told()).filter(isIncidentNoticed)
    assert.equal(notices.filter(({ change }) => change === 'opened').length, all.length)
    assert.ok(
      notices.every(({ change }) => change === 'opened' || change === 'severity-changed'),
      'nothing else is told',
    )
  })

  it('group devices of one type and place, while others stay apart', async () => {
    for (const device of ['a', 'b', 'c', 'd']) labels[device] = { site: 'north' }
    for (const device of ['a', 'b', 'c', 'd']) await say({ device })
    await say({ device: 'x', type: 'fan', cause: 'silence', metric: '' })
    const all = await when('all are counted', (found) => found.reduce((sum, { alertCount }) => sum + alertCount, 0) === 5)
    assert.deepEqual(all.map(({ level, type, place, alertCount }) => `${level} ${type} ${place} ${alertCount}`).toSorted(), [
      'device fan  1',
      'device pump north 1',
      'device pump north 1',
      'group pump north 2',
    ])
  })

  it('begin anew when nothing joined for a while', async () => {
    await say({ metric: 'a' })
    await when('the first is there', (all) => all.length === 1)
    await clock.advance(4 * MINUTE)
    await say({ metric: 'b' })
    await when('it joined', (all) => all[0]?.alertCount === 2)
    await clock.advance(6 * MINUTE)
    await say({ metric: 'c' })
    await when('there is another', (all) => all.length === 2)
  })

  it('are acknowledged with all of their alerts, and those that join; through a restart', async () => {
    await say({ metric: 'a' }, { metric: 'b' })
    const [incident] = await when('they are counted', (all) => all[0]?.alertCount === 2)
    const { id } = incident as IncidentView
    await alerts.incidents.acknowledge(operator, { id, note: 'on it' })
    await assert.rejects(alerts.incidents.acknowledge(operator, { id }), ConflictError)
    await alerts.stop()
    await begin()
    await when('its alerts are acknowledged', (all) => all[0]?.openCount === 0 && all[0].acknowledgedCount === 2)
    const [one] = await alertsOf(id)
    assert.deepEqual([one?.state, one?.history[0]?.by], ['acknowledged', 'user:ana'])
    await say({ metric: 'c' })
    await when('the third is too', (all) => all[0]?.acknowledgedCount === 3)
    await alerts.incidents.resolve(operator, { id })
    const [resolved] = await when('it is over', (all) => all[0]?.state === 'resolved')
    assert.equal(resolved?.alertCount, 3)
    await assertTold(['opened', 'acknowledged', 'resolved'])
    await assert.rejects(alerts.incidents.get(stranger, id), NotFoundError)
  })

  it('end with the last of their alerts, and come back with one of them', async () => {
    await alerts.stop()
    await begin({ resolveQuietMs: 0 })
    await say({})
    await when('it is there', (all) => all.length === 1)
    await say({ phase: 'cleared' })
    await when('it is over', (all) => all[0]?.state === 'resolved')
    await say({ metric: 'other' })
    await when('it is back', (all) => all[0]?.state === 'open' && all.length === 1)
    await assertTold(['opened', 'resolved', 'reopened'])
  })

  it('tell nobody while all of their alerts are quiet, and then once', async () => {
    await alerts.maintenance.create(operator, {
      name: 'works',
      matchers: [{ label: 'metric', isNot: 'pressure' }],
      once: { from: T0, until: T0 + 60 * MINUTE },
    })
    await say({ metric: 'temperature' })
    await when('it is there', (all) => all.length === 1)
    assert.deepEqual((await told()).filter(isIncidentNoticed), [])
    await say({ metric: 'pressure' })
    await when('it is told', (all) => all[0]?.announced === true)
    await assertTold(['announced'], isIncidentNoticed)
  })

  it('say nothing of what a quiet alert comes to until it is told', async () => {
    const { id } = await alerts.maintenance.create(operator, {
      name: 'works',
      matchers: [{ label: 'metric', is: 'pressure' }],
      once: { from: T0, until: T0 + 60 * MINUTE },
    })
    await say({ metric: 'temperature' })
    await say({ metric: 'pressure', severity: 'critical' }, { metric: 'flow' })
    const [all3] = await when('all are counted', (all) => all[0]?.alertCount === 3)
    assert.equal(all3?.severity, 'warning')
    await assertTold(['opened'], isIncidentNoticed)
    await alerts.maintenance.remove(operator, id)
    await when('it is told', (all) => all[0]?.severity === 'critical')
    await assertTold(['opened', 'severity-changed'], isIncidentNoticed)
  })

  it('begin from the bottom when they come back: as severe as what came, and not escalated', async () => {
    await alerts.stop()
    await begin({ resolveQuietMs: 0, escalationStepsMs: [5_000] })
    await say({ severity: 'critical' })
    await when('it escalates', (all) => all[0]?.escalation === 1)
    await say({ severity: 'critical', phase: 'cleared' })
    await when('it is over', (all) => all[0]?.state === 'resolved')
    await say({ metric: 'other' })
    const [back] = await when('it is back', (all) => all[0]?.state === 'open')
    assert.deepEqual([back?.severity, back?.escalation], ['warning', 0])
    await when('it escalates anew', (all) => all[0]?.escalation === 1)
    await assertTold(['opened', 'escalated', 'resolved', 'reopened', 'escalated'])
  })

  it('escalate once per step, whoever of their alerts do', async () => {
    await alerts.stop()
    await begin({ escalationStepsMs: [5_000, 10_000] })
    await say({ metric: 'a' }, { metric: 'b' }, { metric: 'c' })
    await when('twice', (all) => all[0]?.escalation === 2)
    await when('all did', () => clock.nowMs() > T0 + 30_000)
    await assertTold(['opened', 'escalated', 'escalated'])
  })
})

describe('the desk', () => {
  const limits = alertsConfig()

  it('opens one incident more than a cause may have in a burst at most, in any storm', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 400 }), fc.integer({ min: 1, max: 60 }), (seed, count, seconds) => {
        const random = seededRandom(seed)
        let entries: DeskEntry[] = []
        const opened = new Set<string>()
        for (let i = 0; i < count; i++) {
          const [device, type, site] = [500, 6, 50].map((n) => String(Math.floor(random.next() * n))) as [string, string, string]
          const decision = decide(
            entries,
            { tenant: 't', device, type, cause: 'silence', labels: { site } },
            T0 + Math.floor((i * seconds * 1_000) / count),
            limits,
          )
          opened.add(decision.incident.id)
          entries = decision.entries ?? entries
        }
        assert.ok(opened.size <= limits.incidentsPerCauseMax + 1)
      }),
    )
  })

  it('keeps no more entries than it may', () => {
    let entries: DeskEntry[] = []
    for (let i = 0; i < 50; i++) {
      const { entries: next } = decide(entries, { tenant: 't', device: `d${i}`, type: 'x', cause: `c${i}`, labels: {} }, T0, {
        ...limits,
        incidentsJoinableMax: 10,
      })
      entries = next ?? entries
    }
    assert.equal(entries.length, 10)
  })
})
