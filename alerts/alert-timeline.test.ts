import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { isNoticed, type AlertChange, type AlertChangeKind } from '../contracts/alert.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import { ConflictError, InvalidInputError } from '../kernel/errors.ts'
import { VirtualClock } from '../kernel/time.ts'
import { ALERTS_COLLECTION, type AlertDocument } from './alert-document.ts'
import type { AlertView } from './alert-service.ts'
import { Alerts } from './alerts.ts'
import { alertChanges, alertsOptions, anomaly, anomalyMessage, openEngines, operator, settled, T0, type Engines } from './alerts-testing.ts'
import type { AlertsConfig } from './config.ts'

/* What an alert goes through by time, on a virtual clock: acted at one time, expected within a span of others, restarts in between. */

const MINUTE = 60_000
const HOUR = 3_600_000

let engines: Engines
let clock: VirtualClock
let alerts: Alerts
let config: Partial<AlertsConfig>
let labels: Record<string, Record<string, string>>

async function open(startMs = T0): Promise<void> {
  engines = await openEngines(1)
  clock = new VirtualClock(startMs)
  labels = {}
  config = {}
  await begin()
}
async function begin(): Promise<void> {
  alerts = new Alerts({ ...alertsOptions(engines, config, clock), facts: { labelsOf: async (_tenant, device) => labels[device] ?? {} } })
  await alerts.start()
}
async function restart(changes: Partial<AlertsConfig> = {}): Promise<void> {
  await alerts.stop()
  config = { ...config, ...changes }
  await begin()
}
beforeEach(() => open())
afterEach(async () => {
  await alerts.stop()
  await engines.dispose()
})

async function say(changes: Partial<Anomaly> = {}): Promise<void> {
  // Ids within one millisecond have no order.
  await clock.advance(1)
  const spoken = anomaly({ ts: clock.nowMs(), ...changes })
  await engines.eventLog.append('anomalies', [anomalyMessage(spoken)])
  await settled(engines.eventLog, [spoken.device])
}

async function alertOf(device = 'pump-1'): Promise<AlertView> {
  const { items } = await alerts.service.list(operator, { device })
  const alert = items.find((each) => each.metric !== 'mark')
  assert.ok(alert, `no alert of ${device}`)
  return alert
}

async function changesOf(device = 'pump-1'): Promise<AlertChange[]> {
  return (await alertChanges(engines.eventLog)).filter(({ alert }) => alert.device === device && alert.metric !== 'mark')
}
async function kindsOf(device = 'pump-1'): Promise<AlertChangeKind[]> {
  return (await changesOf(device)).map(({ change }) => change)
}
/** Those that somebody is told. */
async function noticesOf(device = 'pump-1'): Promise<AlertChangeKind[]> {
  return (await changesOf(device)).filter(isNoticed).map(({ change }) => change)
}

/** Lets time go on in steps that sweeps can follow, as far as `untilMs`; answers when `condition` first held. */
async function when(what: string, untilMs: number, condition: () => Promise<boolean>): Promise<number> {
  for (;;) {
    if (await condition()) return clock.nowMs()
    assert.ok(clock.nowMs() < untilMs, `${what}: not by ${clock.nowMs() - T0} ms`)
    await pass(1_000)
  }
}
async function pass(ms: number): Promise<void> {
  const [end, stepMs] = [clock.nowMs() + ms, Math.max(1_000, config.sweepIntervalMs ?? 0)]
  while (clock.nowMs() < end) {
    await clock.advance(Math.min(stepMs, end - clock.nowMs()))
    await alerts.sweeping()
  }
}
const has = (kind: AlertChangeKind, device?: string) => async (): Promise<boolean> => (await kindsOf(device)).includes(kind)

describe('alerts by time', () => {
  it('escalates step by step until somebody acknowledges, through restarts', async () => {
    await restart({ escalationStepsMs: [10_000, 20_000, 30_000] })
    await say()
    const first = await when('the first step', T0 + 11_500, has('escalated'))
    assert.ok(first >= T0 + 10_000)
    await pass(15_000)
    await restart()
    await when('the second step', first + 22_000, async () => (await alertOf()).escalation === 2)
    assert.ok(clock.nowMs() >= first + 20_000)
    const { id } = await alertOf()
    await alerts.service.act(operator, 'acknowledge', { id })
    await pass(60_000)
    assert.equal((await alertOf()).escalation, 2)
    assert.equal((await alertOf()).assignee, 'user:ana')
  })

  it('holds a step of escalation back while it is silenced, and takes it when the silence ends', async () => {
    await restart({ escalationStepsMs: [10_000] })
    await say()
    await alerts.service.act(operator, 'silence', { id: (await alertOf()).id, untilMs: T0 + MINUTE })
    await pass(MINUTE - 1_000)
    assert.equal((await alertOf()).escalation, 0)
    await when('the step', T0 + MINUTE + 2_000, has('escalated'))
    assert.ok((await noticesOf()).includes('escalated'))
  })

  it('wakes a snoozed alert when its time has come, open again, through a restart', async () => {
    await say()
    const { id } = await alertOf()
    await alerts.service.act(operator, 'acknowledge', { id })
    await alerts.service.act(operator, 'snooze', { id, untilMs: T0 + 30_000 })
    await pass(20_000)
    await restart()
    const woken = await when('it wakes', T0 + 31_500, has('woken'))
    assert.ok(woken >= T0 + 30_000)
    assert.deepEqual([(await alertOf()).state, (await alertOf()).snoozedUntil], ['open', null])
    assert.deepEqual(await noticesOf(), ['opened', 'acknowledged', 'snoozed', 'woken'])
  })

  it('gives no notice of a suppressed alert until it is restored', async () => {
    await restart({ escalationStepsMs: [10_000], sweepIntervalMs: 10_000 })
    await say()
    const { id } = await alertOf()
    await alerts.service.act(operator, 'suppress', { id, note: 'known, the valve is on order' })
    await assert.rejects(alerts.service.act(operator, 'suppress', { id }), ConflictError)
    await say({ severity: 'critical' })
    await pass(HOUR)
    assert.deepEqual(await noticesOf(), ['opened', 'suppressed'])
    await alerts.service.act(operator, 'restore', { id })
    await when('it escalates again', clock.nowMs() + 22_000, has('escalated'))
    assert.deepEqual(await noticesOf(), ['opened', 'suppressed', 'restored', 'escalated'])
  })

  it('reopens what was resolved too early, unless the same cause has opened another', async () => {
    await say()
    const { id } = await alertOf()
    await assert.rejects(alerts.service.act(operator, 'reopen', { id }), ConflictError)
    await alerts.service.act(operator, 'resolve', { id })
    const reopened = await alerts.service.act(operator, 'reopen', { id, note: 'still warm' })
    assert.deepEqual([reopened.id, reopened.state, reopened.resolvedAt], [id, 'open', null])
    await say()
    assert.equal((await alertOf()).anomalyCount, 2)
    await alerts.service.act(operator, 'resolve', { id })
    await say()
    assert.notEqual((await alertOf()).id, id)
    await assert.rejects(alerts.service.act(operator, 'reopen', { id }), /another alert of the same cause/)
  })

  it('assigns and comments', async () => {
    await say()
    const { id } = await alertOf()
    await alerts.service.act(operator, 'assign', { id, assignee: 'ben', note: 'your pump' })
    await alerts.service.act(operator, 'comment', { id, note: 'bearing ordered' })
    const alert = await alertOf()
    assert.equal(alert.assignee, 'ben')
    assert.deepEqual(
      alert.history.slice(0, 2).map(({ action, note }) => [action, note]),
      [
        ['commented', 'bearing ordered'],
        ['assigned', 'to ben: your pump'],
      ],
    )
    assert.deepEqual(
      (await alerts.service.list(operator, { assignee: 'ben' })).items.map((each) => each.id),
      [id],
    )
    await assert.rejects(alerts.service.act(operator, 'comment', { id, note: ' ' }), InvalidInputError)
    await assert.rejects(alerts.service.act(operator, 'assign', { id, assignee: '' }), InvalidInputError)
  })

  it('takes many at once, each by itself', async () => {
    await say({ device: 'a' })
    await say({ device: 'b' })
    const ids = [(await alertOf('a')).id, (await alertOf('b')).id, 'nothing']
    await alerts.service.act(operator, 'acknowledge', { id: ids[0] ?? '' })
    const results = await alerts.service.actOnMany(operator, 'acknowledge', { ids })
    assert.deepEqual(
      results.map((each) => (each.status === 'done' ? each.state : each.code)),
      ['CONFLICT', 'acknowledged', 'NOT_FOUND'],
    )
  })

  it('rises in severity at once, and falls when nothing as bad came for a while; a person has the last word', async () => {
    await say()
    await say({ severity: 'critical' })
    assert.equal((await alertOf()).severity, 'critical')
    await pass(5 * MINUTE)
    await say()
    assert.equal((await alertOf()).severity, 'critical')
    await pass(5 * MINUTE)
    await say()
    assert.equal((await alertOf()).severity, 'warning')
    const { id } = await alertOf()
    await alerts.service.act(operator, 'set-severity', { id, severity: 'warning' })
    await say({ severity: 'critical' })
    assert.equal((await alertOf()).severity, 'warning')
  })

  it('holds a cause that comes and goes open as one flapping alert', async () => {
    await restart({ resolveQuietMs: 10_000, flapCount: 3, flapQuietMs: 5 * MINUTE })
    for (let i = 0; i < 10; i++) {
      await say()
      await say({ phase: 'cleared' })
      await pass(30_000)
    }
    const { items } = await alerts.service.list(operator)
    const told = items.filter((each) => each.metric !== 'mark')
    assert.equal(told.length, 4, 'three short ones, then one that is held open')
    assert.deepEqual([told[0]?.state, told[0]?.flapping, told[0]?.anomalyCount], ['open', true, 7])
    const lastCleared = clock.nowMs() - 30_000
    await when('it resolves', lastCleared + 5 * MINUTE + 2_000, async () => (await alertOf()).state === 'resolved')
    assert.ok(clock.nowMs() >= lastCleared + 5 * MINUTE)
  })

  it('resolves what nothing was heard of for long, where that is wanted', async () => {
    await restart({ staleResolveMs: HOUR, sweepIntervalMs: 60_000 })
    await say()
    await pass(50 * MINUTE)
    await say()
    await pass(50 * MINUTE)
    assert.equal((await alertOf()).state, 'open')
    await when('it resolves', clock.nowMs() + 12 * MINUTE, async () => (await alertOf()).state === 'resolved')
  })

  it('resolves a reopened one of which nothing is heard for long, too', async () => {
    await restart({ staleResolveMs: HOUR, sweepIntervalMs: 60_000 })
    await say()
    const { id } = await alertOf()
    await alerts.service.act(operator, 'resolve', { id })
    await alerts.service.act(operator, 'reopen', { id })
    await when('it resolves', clock.nowMs() + 62 * MINUTE, async () => (await alertOf()).state === 'resolved')
  })

  it('goes on with alerts that an earlier version wrote', async () => {
    await say()
    await say({ phase: 'cleared', ts: T0 + 1_000 })
    await alerts.stop()
    const collection = await engines.documents.collection<AlertDocument>(ALERTS_COLLECTION)
    const [stored] = await collection.find({ metric: 'temperature' })
    assert.ok(stored)
    const {
      _id,
      version,
      times,
      dueAt,
      labels: _l,
      snoozedUntil,
      suppressedBy,
      quiet,
      assignee,
      flapping,
      escalation,
      announced,
      isFinal,
      flapTs,
      severeTs,
      isSeverityFixed,
      ...former
    } = stored
    await collection.replace(_id, version, { ...former, resolveDueAt: times.resolve } as unknown as AlertDocument)
    await begin()
    await when('it resolves', T0 + 65_000, async () => (await alertOf()).state === 'resolved')
    assert.deepEqual([(await alertOf()).announced, (await alertOf()).labels], [true, {}])
  })
})

describe('maintenance', () => {
  const window = (matchers: { label: string; is: string }[], from: number, until: number) => ({
    name: 'pump works',
    matchers,
    once: { from, until },
  })

  it('records and tells nobody, and tells what is not over when it ends, through a restart', async () => {
    await alerts.maintenance.create(operator, window([{ label: 'device', is: 'pump-1' }], T0, T0 + MINUTE))
    await say()
    await say({ device: 'fan-1' })
    assert.deepEqual((await alertOf()).quiet?.reason, 'maintenance')
    assert.deepEqual(await noticesOf(), [])
    assert.deepEqual(await noticesOf('fan-1'), ['opened'])
    await pass(30_000)
    await restart()
    const resumed = await when('it is told', T0 + MINUTE + 2_000, has('resumed'))
    assert.ok(resumed >= T0 + MINUTE)
    assert.deepEqual(await noticesOf(), ['resumed'])
    assert.equal((await alertOf()).quiet, null)
  })

  it('tells no escalation and no waking within it, of alerts that were open before, and goes on afterwards', async () => {
    await restart({ escalationStepsMs: [10_000] })
    await say()
    await say({ device: 'fan-1' })
    const { id } = await alertOf('fan-1')
    await alerts.service.act(operator, 'snooze', { id, untilMs: T0 + 10_000 })
    const snoozed = await noticesOf('fan-1')
    await alerts.maintenance.create(operator, window([], T0 + 5_000, T0 + MINUTE))
    await pass(30_000)
    assert.deepEqual(await noticesOf(), ['opened', 'quieted'])
    assert.deepEqual(await noticesOf('fan-1'), [...snoozed, 'quieted'])
    assert.equal((await alertOf('fan-1')).snoozedUntil, null, 'it is awake')
    await when('it is told', T0 + MINUTE + 3_000, has('resumed'))
    const escalated = await when('it escalates', T0 + MINUTE + 13_000, has('escalated'))
    assert.ok(escalated >= T0 + MINUTE + 10_000)
  })

  it('never tells what began and ended within it', async () => {
    await restart({ resolveQuietMs: 5_000, sweepIntervalMs: 5_000 })
    await alerts.maintenance.create(operator, window([], T0, T0 + HOUR))
    await say()
    await say({ phase: 'cleared' })
    await when('it resolves', T0 + 15_000, has('resolved'))
    await pass(HOUR)
    assert.deepEqual(await noticesOf(), [])
    assert.deepEqual(await kindsOf(), ['opened', 'resolved'])
  })

  it('ends early when it is removed, and holds further notices of alerts that were open before', async () => {
    await say()
    const { id } = await alerts.maintenance.create(operator, window([{ label: 'type', is: 'pump' }], T0, T0 + HOUR))
    await say({ severity: 'critical' })
    assert.deepEqual(await noticesOf(), ['opened'])
    await alerts.maintenance.remove(operator, id)
    await when('it is told', T0 + 3_000, has('resumed'))
  })

  it('comes every week at the same time on the wall, across daylight saving', async () => {
    await alerts.stop()
    await engines.dispose()
    // Sunday 2025-03-30: in Berlin 02:00 becomes 03:00. 22:00 is 21:00Z on Saturday and 20:00Z on Sunday.
    await open(Date.parse('2025-03-29T20:59:00Z'))
    await restart({ sweepIntervalMs: 60_000 })
    await alerts.maintenance.create(operator, {
      name: 'nightly',
      matchers: [],
      weekly: { timeZone: 'Europe/Berlin', days: ['sat', 'sun'], at: '22:00', durationMs: HOUR },
    })
    const isQuiet = async (device: string): Promise<boolean> => {
      await say({ device })
      return (await alertOf(device)).quiet !== null
    }
    assert.equal(await isQuiet('sat-before'), false)
    await clock.advance(2 * MINUTE)
    assert.equal(await isQuiet('sat-within'), true)
    await clock.advance(HOUR)
    assert.equal(await isQuiet('sat-after'), false)
    await clock.advance(Date.parse('2025-03-30T19:59:00Z') - clock.nowMs())
    assert.equal(await isQuiet('sun-before'), false)
    await clock.advance(2 * MINUTE)
    assert.equal(await isQuiet('sun-within'), true)
    await clock.advance(HOUR)
    assert.equal(await isQuiet('sun-after'), false)
  })

  it('lets the one that ends last decide where several are on, and another take over when that is removed', async () => {
    const one = window([{ label: 'device', is: 'pump-1' }], T0, T0 + MINUTE)
    await alerts.maintenance.create(operator, one)
    await clock.advance(1)
    const long = await alerts.maintenance.create(operator, window([{ label: 'type', is: 'pump' }], T0, T0 + HOUR))
    await clock.advance(1)
    const short = await alerts.maintenance.create(operator, window([{ label: 'device', is: 'pump-1' }], T0, T0 + 2 * MINUTE))
    await alerts.maintenance.create(operator, window([{ label: 'device', is: 'pump-1' }], T0 + 2 * MINUTE, T0 + 4 * MINUTE))
    await say()
    assert.equal((await alertOf()).quiet?.ref, long.id)
    await alerts.maintenance.remove(operator, long.id)
    await when('the short one holds', T0 + MINUTE, async () => (await alertOf()).quiet?.ref === short.id)
    await pass(T0 + 3 * MINUTE - clock.nowMs())
    assert.deepEqual(await noticesOf(), [], 'the third begins where the second ends')
    const told = await when('it is told', T0 + 4 * MINUTE + 2_000, has('resumed'))
    assert.ok(told >= T0 + 4 * MINUTE)
    assert.deepEqual(await kindsOf(), ['opened', 'resumed'])
  })

  it('can be of one rule', async () => {
    const rule = { id: 'r', version: 1, name: 'too high', summary: '', remedy: '' }
    await alerts.maintenance.create(operator, window([{ label: 'rule', is: 'too high' }], T0, T0 + HOUR))
    await say({ cause: 'rule', rule })
    await say({ device: 'fan-1' })
    assert.deepEqual([await noticesOf(), await noticesOf('fan-1')], [[], ['opened']])
  })

  it('refuses what can be no window', async () => {
    const create = (settings: object) => alerts.maintenance.create(operator, { name: 'x', matchers: [], ...settings })
    await assert.rejects(create({}), /either/)
    await assert.rejects(create({ once: { from: T0 + 2, until: T0 + 1 } }), /end after it begins/)
    await assert.rejects(create({ weekly: { timeZone: 'Mars/Olympus', days: ['mon'], at: '10:00', durationMs: MINUTE } }), /no time zone/)
  })
})

describe('dependency', () => {
  beforeEach(() => {
    labels = { 'pump-1': { gateway: 'gate-1', site: 'north' }, 'pump-2': { gateway: 'gate-1' } }
  })
  const silent = (device: string, phase: Anomaly['phase'] = 'raised') =>
    say({ device, metric: '', cause: 'silence', type: 'gateway', phase })

  it('keeps the devices of a silent gateway quiet, those that were open before too, and tells what stays when it is back', async () => {
    await restart({ resolveQuietMs: 5_000, dependencyGraceMs: 20_000 })
    await say({ device: 'pump-2' })
    await silent('gate-1')
    await silent('pump-1')
    assert.deepEqual((await alertOf()).labels, { gateway: 'gate-1', site: 'north' })
    assert.equal((await alertOf()).quiet?.reason, 'dependency')
    assert.deepEqual(await noticesOf(), [])
    await when('the one before is quiet', T0 + 3_000, has('quieted', 'pump-2'))
    await silent('gate-1', 'cleared')
    await when('the gateway is back', T0 + 15_000, has('resolved', 'gate-1'))
    const backAt = clock.nowMs()
    await when('what stays is told', backAt + 22_000, has('resumed'))
    assert.ok(clock.nowMs() >= backAt + 20_000)
    assert.deepEqual(await noticesOf(), ['resumed'])
    assert.deepEqual(await noticesOf('gate-1'), ['opened', 'resolved'])
  })

  it('says nothing of devices that come back with their gateway', async () => {
    await restart({ resolveQuietMs: 5_000, dependencyGraceMs: 20_000 })
    await silent('gate-1')
    await silent('pump-1')
    await silent('gate-1', 'cleared')
    await silent('pump-1', 'cleared')
    await pass(40_000)
    assert.equal((await alertOf()).state, 'resolved')
    assert.deepEqual(await noticesOf(), [])
  })

  it('does not hide what a gateway does not explain', async () => {
    await silent('gate-1')
    await say({ cause: 'security', metric: 'key-shared' })
    assert.equal((await alertOf()).quiet, null)
  })

  it('knows gateways behind gateways, whether the nearer one was heard to be silent or not', async () => {
    labels['gate-1'] = { gateway: 'gate-0' }
    await silent('gate-0')
    await silent('pump-1')
    assert.equal((await alertOf()).quiet?.ref, (await alertOf('gate-0')).id)
    await silent('gate-1')
    assert.equal((await alertOf('gate-1')).quiet?.reason, 'dependency')
    await silent('pump-2')
    assert.equal((await alertOf('pump-2')).quiet?.ref, (await alertOf('gate-1')).id, 'the nearest')
    assert.deepEqual([await noticesOf('gate-0'), await noticesOf('gate-1'), await noticesOf('pump-2')], [['opened'], [], []])
  })

  it('lets no gateways in a circle keep each other quiet', async () => {
    Object.assign(labels, { 'gate-1': { gateway: 'gate-2' }, 'gate-2': { gateway: 'gate-3' }, 'gate-3': { gateway: 'gate-1' } })
    for (const gate of ['gate-1', 'gate-2', 'gate-3']) await silent(gate)
    await silent('pump-1')
    await pass(10_000)
    for (const gate of ['gate-1', 'gate-2', 'gate-3']) assert.deepEqual(await kindsOf(gate), ['opened'], gate)
    assert.equal((await alertOf()).quiet?.reason, 'dependency')
  })

  it('finds out by itself when the word was lost', async () => {
    await restart({ dependencyRecheckMs: 30_000 })
    await silent('gate-1')
    await silent('pump-1')
    const gateway = await alertOf('gate-1')
    const collection = await engines.documents.collection<AlertDocument>(ALERTS_COLLECTION)
    await collection.update(gateway.id, { $set: { state: 'resolved', resolvedAt: clock.nowMs() } })
    await when('it is told', T0 + 33_000, has('resumed'))
  })
})
