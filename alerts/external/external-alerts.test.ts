import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { labelsOf } from '../../contracts/alert.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import { AccessError, EnvironmentError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { VirtualClock } from '../../kernel/time.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { AlertView } from '../alert-service.ts'
import { Alerts } from '../alerts.ts'
import { alertsConfig, alertsOptions, openEngines, operator, readAll, settled, T0, until, viewer, type Engines } from '../alerts-testing.ts'
import type { AlertsConfig } from '../config.ts'
import { EXTERNAL_ALERT_TYPE } from './cloud-event.ts'
import { ExternalAlerts } from './external-alerts.ts'

let engines: Engines
let alerts: Alerts
beforeEach(async () => {
  engines = await openEngines(1)
  alerts = new Alerts(alertsOptions(engines, { resolveQuietMs: 0 }))
  await alerts.start()
})
afterEach(async () => {
  await alerts.stop()
  await engines.dispose()
})

const clock = new VirtualClock(T0)
const at = (ms: number): string => new Date(ms).toISOString()
function door(changes: Partial<AlertsConfig> = {}, eventLog: EventLog = engines.eventLog): ExternalAlerts {
  const typeOf = async (tenant: string, device: string): Promise<string | null> =>
    tenant === 'default' && device === 'pump-1' ? 'pump' : null
  return new ExternalAlerts({ eventLog, clock, metrics: new Metrics(), config: alertsConfig(changes), typeOf })
}

const firing = (changes: object = {}, labels: object = {}): object => ({
  ...{ status: 'firing', labels: { alertname: 'HighLatency', device: 'pump-1', severity: 'critical', ...labels } },
  ...{
    annotations: { summary: 'It is slow', description: 'p99' },
    startsAt: at(T0),
    endsAt: '0001-01-01T00:00:00Z',
    fingerprint: 'f1',
    ...changes,
  },
})
const resolved = (changes: object = {}): object => firing({ status: 'resolved', endsAt: at(T0 + 1_000), ...changes })

async function all(): Promise<AlertView[]> {
  await settled(engines.eventLog, ['pump-1', '_external'])
  const { items } = await alerts.service.list(operator, { limit: 100 })
  return items.filter(({ metric }) => metric !== 'mark').toReversed()
}

test('firing opens, a repeat does nothing, resolved resolves, and the next time is another alert', async () => {
  const outside = door()
  const [result] = await outside.alertmanager(operator, [firing()], 'c-1')
  assert.deepEqual([result?.status, result?.status === 'accepted' && result.device], ['accepted', 'pump-1'])
  for (let i = 0; i < 3; i++) assert.deepEqual(await outside.alertmanager(operator, [firing(), firing()], 'c-2'), [result, result])
  const [open, ...more] = await all()
  assert.ok(open !== undefined && more.length === 0)
  assert.deepEqual(
    [open.title, open.cause, open.state, open.severity, open.type, open.anomalyCount, open.startedAt, open.correlationId],
    ['HighLatency: pump-1', 'external', 'open', 'critical', 'pump', 1, T0, 'c-1'],
  )
  assert.deepEqual([open.rule?.name, open.rule?.summary, labelsOf(open).rule], ['HighLatency', 'p99', 'HighLatency'], 'routes can name it')
  assert.equal((open.explanation as { text: string }).text, 'It is slow')
  await outside.alertmanager(operator, [resolved()], 'c-3')
  assert.deepEqual(
    (await all()).map(({ state }) => state),
    ['resolved'],
  )
  await outside.alertmanager(operator, [firing(), resolved()], 'c-4')
  assert.deepEqual(
    (await all()).map(({ state }) => state),
    ['resolved'],
    'what is told late was told already',
  )
  await outside.alertmanager(operator, [firing({ startsAt: at(T0 + 5_000) })], 'c-5')
  await outside.alertmanager(operator, [resolved({ endsAt: at(T0 + 2_000) })], 'c-6')
  assert.deepEqual(
    (await all()).map(({ state }) => state),
    ['resolved', 'open'],
    'the end of the time before ends nothing that began since',
  )
})

test('each trouble has an alert of its own; what the registry does not know is of no device', async () => {
  const items = [
    firing(),
    firing({ fingerprint: 'f2' }, { instance: 'b' }),
    firing({ fingerprint: 'f3' }, { device: 'nobody' }),
    firing({ fingerprint: 'f4' }, { device: '_platform' }),
    { ...firing({ fingerprint: 'f5' }), labels: { alertname: 'Nameless' } },
    { status: 'firing' },
    'nonsense',
  ]
  const results = await door().alertmanager(operator, items, 'c-1')
  const said = results.map((each) => (each.status === 'accepted' ? each.device : each.status))
  assert.deepEqual(said, ['pump-1', 'pump-1', null, null, null, 'refused', 'refused'])
  const opened = await all()
  assert.deepEqual(
    opened.map(({ title, device, type }) => [title, device, type]).toSorted(([one], [other]) => (String(one) < String(other) ? -1 : 1)),
    [
      ['HighLatency', '_external', ''],
      ['HighLatency', '_external', ''],
      ['HighLatency: pump-1', 'pump-1', 'pump'],
      ['HighLatency: pump-1', 'pump-1', 'pump'],
      ['Nameless', '_external', ''],
    ],
  )
  const incident = await until('its incident', async () =>
    (await alerts.incidents.list(operator)).items.find(({ device }) => device === '_external'),
  )
  assert.equal(incident.title, 'alerts of other systems')
  const stranger: Principal = { kind: 'user', id: 'sam', tenant: 'other', roles: ['admin'] }
  const [elsewhere] = await door().alertmanager(stranger, [firing()], 'c-9')
  assert.equal(elsewhere?.status === 'accepted' && elsewhere.device, null, 'a device of another tenant is none')
})

test('a CloudEvent goes the same way', async () => {
  const event = (status: string, more: object = {}): object => ({
    ...{ specversion: '1.0', id: `e-${status}`, source: '/scada', type: EXTERNAL_ALERT_TYPE },
    data: { fingerprint: 'v3', status, name: 'ValveStuck', startsAt: at(T0), device: 'pump-1', ...more },
  })
  await door().cloudEvent(operator, event('firing'), 'c-1')
  await door().cloudEvent(operator, event('firing'), 'c-2')
  assert.deepEqual(
    (await all()).map(({ title, state, anomalyCount }) => [title, state, anomalyCount]),
    [['ValveStuck: pump-1', 'open', 1]],
  )
  await door().cloudEvent(operator, event('resolved', { endsAt: at(T0 + 1) }), 'c-3')
  assert.deepEqual(
    (await all()).map(({ state }) => state),
    ['resolved'],
  )
})

test('rights, bounds and pace; nothing is answered that is not in the log', async () => {
  await assert.rejects(door().alertmanager(viewer, [firing()], 'c'), AccessError)
  const key: Principal = { kind: 'api-key', id: 'k', tenant: 'default', roles: ['operator'], scopes: ['write:external-alerts'] }
  const [mayWrite] = await door().alertmanager(key, [firing()], 'c')
  assert.equal(mayWrite?.status, 'accepted')
  await assert.rejects(door().alertmanager({ ...key, scopes: ['write:alerts'] }, [firing()], 'c'), AccessError)
  await assert.rejects(door({ externalItemsMax: 1 }).alertmanager(operator, [firing(), firing()], 'c'), InvalidInputError)
  const slow = door({ externalRequestsPerMinute: 2 })
  for (let i = 0; i < 2; i++) await slow.alertmanager(operator, [firing()], 'c')
  await assert.rejects(slow.cloudEvent(operator, {}, 'c'), LimitError)
  assert.equal((await slow.alertmanager(key, [firing()], 'c')).length, 1, 'each caller has a pace of its own')
  await clock.advance(30_000)
  assert.equal((await slow.alertmanager(operator, [firing()], 'c')).length, 1)
  const before = (await readAll(engines.eventLog, 'anomalies')).length
  const broken = {
    append: () => Promise.reject(new EnvironmentError('LOG_UNAVAILABLE', 'the disk is full', { retryable: true })),
  } as unknown as EventLog
  await assert.rejects(door({}, broken).alertmanager(operator, [firing()], 'c'), /the disk is full/)
  await assert.rejects(door({}, broken).alertmanager(operator, [firing()], 'c'), EnvironmentError)
  assert.equal((await readAll(engines.eventLog, 'anomalies')).length, before)
})
