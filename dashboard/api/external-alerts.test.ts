import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Alert } from '../../contracts/alert.ts'
import type { AuditEntry } from '../../contracts/audit.ts'
import { EXTERNAL_ALERT_TYPE } from '../../alerts/external/cloud-event.ts'
import { until } from '../../alerts/alerts-testing.ts'
import { ApiFixture, problemOf } from './testing/api-fixture.ts'

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open()
  await api.ask('POST', '/devices', { body: { id: 'pump-1', type: 'generic' } })
})
after(() => api.close())

const startsAt = new Date(Date.now() - 60_000).toISOString()
const alert = (fingerprint: string, labels: object = {}): object => ({
  ...{ status: 'firing', labels: { alertname: 'HighLatency', device: 'pump-1', ...labels }, annotations: { summary: 'Slow' } },
  ...{ startsAt, endsAt: '0001-01-01T00:00:00Z', generatorURL: 'http://prometheus/graph', fingerprint },
})
const payload = (alerts: unknown[], more: object = {}): object => ({
  ...{ version: '4', groupKey: '{}:{alertname="HighLatency"}', truncatedAlerts: 2, status: 'firing', receiver: 'fleetpulse' },
  ...{ groupLabels: {}, commonLabels: {}, commonAnnotations: {}, externalURL: 'http://alertmanager', alerts, ...more },
})
const send = (body: object, headers: Record<string, string> = {}) => api.ask('POST', '/external-alerts', { body, headers })
const event = { specversion: '1.0', id: 'e1', source: '/scada', type: EXTERNAL_ALERT_TYPE }
const data = { fingerprint: 'v3', status: 'firing', name: 'ValveStuck', startsAt, device: 'pump-1' }
const cloud = (body: unknown, contentType = 'application/cloudevents+json; charset=utf-8') =>
  api.ask('POST', '/external-alerts', { body: JSON.stringify(body), headers: { 'content-type': contentType } })

test('each alert of a payload has its own result; good ones become alerts, bad ones harm only themselves', async () => {
  const answer = await send(payload([alert('a'), { labels: {} }, alert('b', { device: 'nobody' })]))
  assert.equal(answer.statusCode, 202, answer.body)
  const { accepted, refused, leftOut, results } = answer.json<{
    accepted: number
    refused: number
    leftOut: number
    results: Record<string, unknown>[]
  }>()
  assert.deepEqual([accepted, refused, leftOut], [2, 1, 2])
  assert.deepEqual(
    results.map(({ status, device }) => [status, device]),
    [
      ['accepted', 'pump-1'],
      ['refused', undefined],
      ['accepted', null],
    ],
  )
  assert.match(String(results[1]?.problem), /is missing/)
  const opened = await until('they are alerts', async () => {
    const { items } = (await api.ask('GET', '/alerts')).json<{ items: Alert[] }>()
    return items.length === 2 ? items : null
  })
  assert.deepEqual(opened.map(({ title }) => title).toSorted(), ['HighLatency', 'HighLatency: pump-1'])
  const { items } = (await api.ask('GET', '/audit?limit=50')).json<{ items: AuditEntry[] }>()
  assert.deepEqual(items.find(({ action }) => action === 'external-alert.take')?.after, { accepted: 2, refused: 1, leftOut: 2 })
})

test('the same Idempotency-Key gets the same answer', async () => {
  const first = await send(payload([alert('c')]), { 'idempotency-key': 'k-1' })
  const again = await send(payload([alert('c')]), { 'idempotency-key': 'k-1' })
  assert.deepEqual([again.statusCode, again.body, again.headers['idempotency-replayed']], [202, first.body, 'true'])
  assert.equal(problemOf(await send(payload([alert('d')]), { 'idempotency-key': 'k-1' })).status, 409)
})

test('a CloudEvent in structured mode is taken', async () => {
  const answer = await cloud({ ...event, data })
  assert.equal(answer.statusCode, 202, answer.body)
  assert.equal(answer.json<{ accepted: number }>().accepted, 1)
})

test('what is none of both is refused as a problem, and nothing is promised', async () => {
  for (const [answer, status, detail] of [
    [await send({ hello: 1 }), 400, /version/],
    [await send(payload([], {})), 400, /alerts/],
    [await send(payload([alert('a')], { version: '3' })), 400, /version/],
    [await send(payload([7, { labels: {} }])), 400, /none of 2 could be taken/],
    [await send({ ...event, data }), 400, /version/],
    [await cloud({ ...event, data: { ...data, status: 'odd' } }), 400, /data/],
    [await cloud({ ...event, data: { ...data, startsAt: '1970-01-01T00:00:00Z' } }), 400, /startsAt: not between/],
    [await cloud(payload([alert('a')])), 400, /specversion/],
    [await cloud({ ...event, data }, 'text/plain'), 415, /./],
    [await api.server.inject({ method: 'POST', url: '/api/v1/external-alerts', payload: payload([]) }), 401, /./],
  ] as const) {
    const problem = problemOf(answer)
    assert.equal(problem.status, status, answer.body)
    assert.match(problem.detail, detail)
  }
})

test('a key that may only tell of external alerts is enough for Alertmanager, and may do nothing else', async () => {
  const made = await api.ask('POST', '/api-keys', { body: { name: 'alertmanager', role: 'operator', scopes: ['write:external-alerts'] } })
  const { secret } = made.json<{ secret: string }>()
  assert.ok(made.statusCode === 201 && typeof secret === 'string', made.body)
  const headers = { authorization: `Bearer ${secret}` }
  assert.equal((await send(payload([alert('e')]), headers)).statusCode, 202)
  assert.equal((await api.ask('GET', '/alerts', { headers })).statusCode, 403)
})
