import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { deviceKey, TOPICS } from '../../contracts/topics.ts'
import { REJECTED_READING } from '../../contracts/reading.ts'
import { jsonBytes } from '../../kernel/bytes.ts'
import { ApiServer } from './server.ts'
import { ApiFixture, problemOf, TOKEN } from './testing/api-fixture.ts'

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open({ pageItemsMax: 1_000, bodyBytesMax: 4_096, logScanMax: 100 })
})
after(() => api.close())

interface Operation {
  security?: unknown[]
}
const METHODS = ['get', 'post', 'put', 'patch', 'delete'] as const

async function operations(): Promise<{ method: (typeof METHODS)[number]; path: string; operation: Operation }[]> {
  const { paths } = (await api.server.inject('/openapi.json')).json<{ paths: Record<string, Record<string, Operation>> }>()
  return Object.entries(paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => (item[method] === undefined ? [] : [{ method, path, operation: item[method] }])),
  )
}

test('every route of the document refuses who is not known, before it looks at what was sent', async () => {
  const all = await operations()
  assert.ok(all.length > 25, `only ${all.length} routes`)
  const closed = all.filter(({ operation }) => operation.security === undefined || operation.security.length > 0)
  assert.deepEqual(all.filter((each) => !closed.includes(each)).map(({ method, path }) => `${method} ${path}`).sort(), ['delete /api/v1/session', 'post /api/v1/auth/refresh', 'post /api/v1/auth/revoke', 'post /api/v1/auth/token', 'post /api/v1/session'])
  for (const { method, path } of [...closed, { method: 'get' as const, path: '/api/v1/live' }]) {
    for (const headers of [{}, { authorization: 'Bearer wrong' }, { authorization: 'Basic YTpi' }, { cookie: 'fleetpulse_session=made-up' }]) {
      const url = path.replace(/\{[^}]+\}/g, '%21')
      const answer = await api.server.inject({ method: method.toUpperCase() as 'GET', url, headers: { ...headers, 'content-type': 'application/json' }, ...(method === 'get' || method === 'delete' ? {} : { payload: '{broken' }) })
      // Wrong tokens from one address are answered 429 after a while.
      const problem = problemOf(answer)
      assert.ok(answer.statusCode === 401 || (answer.statusCode === 429 && 'authorization' in headers), `${method} ${path}: ${answer.statusCode}`)
      if (problem.status === 401) assert.equal(answer.headers['www-authenticate'], 'Bearer')
    }
  }
  assert.equal((await api.ask('GET', '/devices')).statusCode, 200, 'the right token still opens')
})

test('operations and the page need no token; what is not ready is said', async () => {
  assert.equal((await api.server.inject('/healthz')).statusCode, 200)
  assert.match((await api.server.inject('/metrics')).body, /^# HELP fleetpulse_/m)
  api.operations.failing = { series: 'disk full' }
  const notReady = await api.server.inject('/readyz')
  assert.equal(notReady.statusCode, 503)
  assert.deepEqual(notReady.json<{ notReady: object }>().notReady, { series: 'disk full' })
  api.operations.failing = {}
  assert.equal((await api.server.inject('/readyz')).statusCode, 200)
  for (const url of ['/', '/devices/pump-1']) {
    const page = await api.server.inject(url)
    assert.equal(page.statusCode, 200)
    assert.match(String(page.headers['content-type']), /^text\/html/)
    assert.match(String(page.headers['content-security-policy']), /default-src 'self'/)
  }
})

test('what is not there is 404, another method 405 with Allow, HEAD is GET without a body', async () => {
  assert.equal(problemOf(await api.ask('GET', '/nothing')).code, 'NOT_FOUND')
  const refused = await api.ask('DELETE', '/devices')
  assert.equal(problemOf(refused).code, 'METHOD_NOT_ALLOWED')
  assert.equal(refused.headers.allow, 'GET, HEAD, POST')
  const head = await api.ask('HEAD', '/devices')
  assert.deepEqual([head.statusCode, head.body], [200, ''])
  const live = await api.ask('HEAD', '/live')
  assert.deepEqual([live.statusCode, live.headers.allow], [405, 'GET'], 'a stream has no head to be asked for')
})

test('bad input is 4xx problem details that name the field', async () => {
  const cases: [string, Parameters<ApiFixture['ask']>, number, string | undefined][] = [
    ['an id', ['POST', '/devices', { body: { id: '-x', type: 'generic' } }], 400, 'id'],
    ['a missing field', ['POST', '/devices', { body: { id: 'x' } }], 400, 'type'],
    ['an unknown field', ['POST', '/devices', { body: { id: 'x', type: 'generic', colour: 1 } }], 400, 'colour'],
    ['an unknown type', ['POST', '/devices', { body: { id: 'x', type: 'none' } }], 400, 'type'],
    ['a number as text', ['POST', '/webhooks/x/rotate-secret', { body: { keepOldMs: '5' } }], 400, 'keepOldMs'],
    ['a limit', ['GET', '/devices?limit=0'], 400, 'querystring.limit'],
    ['two limits', ['GET', '/devices?limit=1&limit=2'], 400, 'querystring.limit'],
    ['a state', ['GET', '/devices?state=flying'], 400, 'querystring.state'],
    ['a time', ['GET', '/readings?from=yesterday'], 400, 'from'],
    ['a huge time', ['GET', `/readings?to=${'9'.repeat(16)}`], 400, 'to'],
    ['a long query', ['GET', `/readings?device=${'x'.repeat(8_000)}`], 400, 'querystring.device'],
    ['an interval alone', ['GET', '/readings?interval=1m'], 400, 'interval'],
    ['too many buckets', ['GET', '/readings?interval=1ms&device=d&metric=m&from=0&to=99999999'], 400, 'interval'],
    ['a cursor of nobody', ['GET', '/devices?cursor=%F0%9F%92%A9'], 400, 'cursor'],
    ['a cursor of another list', ['GET', `/devices?cursor=${Buffer.from('{"ts":1}').toString('base64url')}`], 400, 'cursor'],
    ['a reason', ['POST', '/certificates/00/revoke', { body: { reason: 'boredom' } }], 400, 'reason'],
    ['If-Match', ['PATCH', '/devices/x', { body: { labels: {} }, headers: { 'if-match': '12' } }], 400, 'if-match'],
    ['no JSON', ['POST', '/devices', { body: '{', headers: { 'content-type': 'application/json' } }], 400, undefined],
    ['another media type', ['POST', '/devices', { body: 'a=b', headers: { 'content-type': 'text/csv' } }], 415, undefined],
    ['a large body', ['POST', '/devices', { body: { id: 'x'.repeat(5_000) } }], 413, undefined],
    ['a broken escape', ['GET', '/devices/%zz'], 400, undefined],
  ]
  for (const [what, question, status, field] of cases) {
    const problem = problemOf(await api.ask(...question))
    assert.equal(problem.status, status, `${what}: ${JSON.stringify(problem)}`)
    if (field !== undefined) assert.equal(problem.errors?.[0]?.field, field, what)
    assert.ok(problem.detail.length > 5 && problem.code.length > 2, what)
  }
})

test('limits above what a service gives in a page are cut, not refused', async () => {
  for (const list of ['devices', 'readings', 'windows', 'rejected', 'anomalies', 'alerts', 'webhooks', 'certificates', 'ledger']) {
    const answer = await api.ask('GET', `/${list}?limit=10000`)
    assert.equal(answer.statusCode, 200, `${list}: ${answer.body}`)
    assert.deepEqual(answer.json(), { items: [], next: null }, list)
  }
})

test('devices: created once, paged by cursor, changed only as they were read, moved along legal states', async () => {
  for (const id of ['a', 'b', 'c']) {
    const created = await api.ask('POST', '/devices', { body: { id, type: 'generic', labels: { site: id } } })
    assert.equal(created.statusCode, 201)
    assert.equal(created.headers.location, `/api/v1/devices/${id}`)
    assert.equal(created.headers.etag, '"1"')
  }
  assert.equal(problemOf(await api.ask('POST', '/devices', { body: { id: 'a', type: 'generic' } })).status, 409)
  const ids: string[] = []
  let path = '/devices?limit=2'
  for (let pages = 0; pages < 3; pages++) {
    const page = (await api.ask('GET', path)).json<{ items: { id: string }[]; next: string | null }>()
    ids.push(...page.items.map((item) => item.id))
    if (page.next === null) break
    path = `/devices?limit=2&cursor=${page.next}`
  }
  assert.deepEqual(ids, ['a', 'b', 'c'])
  const change = (etag?: string) => api.ask('PATCH', '/devices/a', { body: { labels: { site: 'z' } }, headers: etag === undefined ? {} : { 'if-match': etag } })
  for (const etag of ['"7"', '"abc"', 'W/"1"']) assert.equal(problemOf(await change(etag)).status, 412, etag)
  assert.equal((await change('"1"')).headers.etag, '"2"')
  assert.equal(problemOf(await change('"1"')).code, 'VERSION_MISMATCH')
  assert.equal((await change('*')).statusCode, 200)
  assert.equal((await change()).statusCode, 200)
  const suspended = await api.ask('POST', '/devices/a/state', { body: { state: 'suspended' } })
  assert.equal(suspended.json<{ state: string }>().state, 'suspended')
  assert.equal(problemOf(await api.ask('POST', '/devices/b/state', { body: { state: 'active' } })).code, 'ILLEGAL_TRANSITION')
  assert.equal(problemOf(await api.ask('GET', '/devices/nobody')).status, 404)
  const quarantined = await api.ask('POST', '/devices/a/state', { body: { state: 'quarantined', why: 'odd values' } })
  assert.equal(quarantined.json<{ state: string }>().state, 'quarantined')
  const history = (await api.ask('GET', '/devices/a/history')).json<{ items: { to: string; by: string; why: string | null; origin: string }[] }>()
  assert.deepEqual(
    history.items.map(({ to, by, why, origin }) => [to, by, why, origin]),
    [
      ['quarantined', 'user:admin', 'odd values', '127.0.0.1'],
      ['suspended', 'user:admin', null, '127.0.0.1'],
      ['registered', 'user:admin', null, '127.0.0.1'],
    ],
  )
  assert.equal(problemOf(await api.ask('POST', '/devices/a/state', { body: { state: 'active' }, headers: { 'if-match': '"1"' } })).status, 412)
  assert.equal(problemOf(await api.ask('POST', '/devices/a/state', { body: { state: 'decommissioned' } })).status, 400)
  // Two at once for a device in one state: one has its way, the other one is told that it was overtaken.
  const racing = await Promise.all(['suspended', 'quarantined'].map((state) => api.ask('POST', '/devices/c/state', { body: { state } })))
  assert.deepEqual(racing.map(({ statusCode }) => statusCode).sort(), [200, 409])
  const latest = await api.ask('GET', '/devices/a/latest')
  assert.deepEqual(latest.json(), { reading: null, metrics: {} })
})

test('webhooks: an endpoint is changed and removed only at the version that was read; its secret is shown once', async () => {
  const created = await api.ask('POST', '/webhooks', { body: { url: 'http://127.0.0.1:9/x' }, headers: { 'idempotency-key': 'k' } })
  assert.equal(created.statusCode, 201, created.body)
  const { endpoint, secret } = created.json<{ endpoint: { id: string }; secret: string }>()
  const path = `/webhooks/${endpoint.id}`
  const read = await api.ask('GET', path)
  assert.ok(!read.body.includes(secret))
  assert.equal(problemOf(await api.ask('PATCH', path, { body: { enabled: false }, headers: { 'if-match': '"99"' } })).status, 412)
  assert.equal(problemOf(await api.ask('DELETE', path, { headers: { 'if-match': '"99"' } })).status, 412)
  assert.equal((await api.ask('PATCH', path, { body: { enabled: false }, headers: { 'if-match': String(read.headers.etag) } })).statusCode, 200)
  const kept = await api.services.documents.collection({ name: 'idempotency', indexes: [] })
  assert.ok(!JSON.stringify(await kept.find({})).includes(secret), 'a secret is not kept with the answers')
  assert.equal((await api.ask('DELETE', path)).statusCode, 204)
})

test('a secret is not kept however the path is spelled', async () => {
  const created = await api.ask('POST', '/webh%6Foks', { body: { url: 'http://127.0.0.1:9/x' }, headers: { 'idempotency-key': 'spelled' } })
  assert.equal(created.statusCode, 201)
  const { secret } = created.json<{ secret: string }>()
  const kept = await api.services.documents.collection({ name: 'idempotency', indexes: [] })
  assert.ok(!JSON.stringify(await kept.find({})).includes(secret))
})

test('rejected readings are paged from the newest, past what cannot be read', async () => {
  const append = (value: Buffer) => api.services.eventLog.append(TOPICS.rejected, [{ key: deviceKey('default', 'r'), schema: REJECTED_READING, value }])
  const rejected = (n: number, tenant = 'default') =>
    jsonBytes({ tenant, device: 'r', receivedAt: n, correlationId: 'c', topic: 't', reason: 'bad-value', detail: `number ${n}`, payloadBase64: '', payloadBytes: 0 })
  for (let n = 0; n < 3; n++) await append(rejected(n))
  await append(Buffer.from('{broken'))
  await append(jsonBytes(null))
  await append(rejected(9, 'another'))
  for (let n = 3; n < 5; n++) await append(rejected(n))
  const seen: number[] = []
  for (let cursor = ''; ; ) {
    const page = (await api.ask('GET', `/rejected?limit=2&device=r${cursor}`)).json<{ items: { receivedAt: number }[]; next: string | null }>()
    seen.push(...page.items.map((item) => item.receivedAt))
    if (page.next === null) break
    cursor = `&cursor=${page.next}`
  }
  assert.deepEqual(seen, [4, 3, 2, 1, 0])
})

test('the ledger answers sums, and the hours that a time range touches', async () => {
  const HOUR = 3_600_000
  const entries = await api.services.documents.collection({ name: 'ledger', indexes: [] })
  const counts = { stored: 2, rejected: 1, late: 0, duplicate: 1, rejectedByReason: { 'bad-value': 1 } }
  const span = (hour: number) => ({ boot: 'b.1', seqBefore: hour === 100 ? null : hour * 10 - 1, firstSeq: hour * 10, lastSeq: hour * 10 + 9 })
  for (const tenant of ['default', 'another']) {
    for (let hour = 100; hour < 103; hour++) await entries.put(`${tenant}/l/${hour}`, { tenant, device: 'l', hour: hour * HOUR, ...counts, spans: { 'readings:x': span(hour) } })
  }
  const gaps = await api.services.documents.collection({ name: 'ledger-gaps', indexes: [] })
  const missing = [{ from: 1_003, to: 1_004 }, { from: 1_010, to: 1_010 }, { from: 1_028, to: 1_028 }]
  await gaps.put('default/l', { tenant: 'default', device: 'l', partition: 0, position: 9, boots: [{ boot: 'b.1', gaps: missing, unreportedGaps: 2 }] })
  const summaries = await api.services.documents.collection({ name: 'ledger-summary', indexes: [] })
  const sums = { received: 3, stored: 2, rejected: 1, late: 0, duplicate: 0, missing: 1 }
  for (const partition of [0, 1]) await summaries.put(`default/${partition}`, { tenant: 'default', partition, ...sums })
  await summaries.put('another/0', { tenant: 'another', partition: 0, ...sums })
  assert.deepEqual((await api.ask('GET', '/ledger?summary=true')).json(), { received: 6, acked: 6, stored: 4, rejected: 2, late: 0, duplicate: 0, missing: 2 })
  const list = (await api.ask('GET', '/ledger?device=l')).json<{ items: Record<string, unknown>[] }>()
  assert.deepEqual(list.items[0], {
    ...{ device: 'l', hour: 100 * HOUR, received: 4, acked: 4, stored: 2, rejected: 1, late: 0, duplicate: 1, missing: 2, rejectedByReason: { 'bad-value': 1 } },
    boots: [{ boot: 'b.1', firstSeq: 1_000, lastSeq: 1_009, missing: 2, missingRanges: [{ from: 1_003, to: 1_004 }], unreportedGaps: 2 }],
    bootsTruncated: false,
  })
  assert.deepEqual(list.items.map((item) => item.missing), [2, 1, 1], 'each gap is of one hour')
  const hours = async (query: string): Promise<number[]> => {
    const found: number[] = []
    for (let cursor = ''; ; ) {
      const page = (await api.ask('GET', `/ledger?device=l&limit=1${query}${cursor}`)).json<{ items: { hour: number }[]; next: string | null }>()
      found.push(...page.items.map((item) => item.hour / HOUR))
      if (page.next === null) return found
      cursor = `&cursor=${page.next}`
    }
  }
  assert.deepEqual(await hours(''), [100, 101, 102])
  assert.deepEqual(await hours(`&from=${101 * HOUR + 5}`), [101, 102], 'the hour in which the range begins belongs to it')
  assert.deepEqual(await hours(`&from=${102 * HOUR}`), [102])
  assert.deepEqual(await hours(`&to=${101 * HOUR}`), [100])
  assert.deepEqual(await hours(`&from=${new Date(101 * HOUR).toISOString()}&to=${102 * HOUR}`), [101])
})

test('a browser logs in with the token, is known by its cookie, is held to its own origin, and logs out', async () => {
  const wrong = await api.server.inject({ method: 'POST', url: '/api/v1/session', payload: { token: 'x' }, remoteAddress: '10.0.0.1' })
  assert.equal(problemOf(wrong).status, 401)
  const login = await api.server.inject({ method: 'POST', url: '/api/v1/session', payload: { token: TOKEN } })
  assert.equal(login.statusCode, 200)
  const setCookie = String(login.headers['set-cookie'])
  assert.match(setCookie, /HttpOnly; SameSite=Strict/)
  assert.ok(!login.body.includes(TOKEN))
  const cookie = setCookie.split(';')[0] as string
  const ask = (method: 'GET' | 'POST', url: string, headers: Record<string, string> = {}) =>
    api.server.inject({ method, url: `/api/v1${url}`, headers: { cookie, host: 'here:1', ...headers }, ...(method === 'POST' ? { payload: { id: 'from-page', type: 'generic' } } : {}) })
  assert.equal((await ask('GET', '/session')).json<{ id: string }>().id, 'admin')
  assert.equal(problemOf(await ask('POST', '/devices', { origin: 'https://evil.example' })).status, 403)
  assert.equal((await ask('POST', '/devices', { origin: 'http://here:1' })).statusCode, 201)
  const logout = await api.server.inject({ method: 'DELETE', url: '/api/v1/session', headers: { cookie } })
  assert.equal(logout.statusCode, 204)
  assert.equal((await ask('GET', '/session')).statusCode, 401)
})

test('a port in use is said with its setting, and the server can be started again', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as AddressInfo
  const server = new ApiServer({ ...api.services, config: { ...api.services.config, port } })
  await assert.rejects(server.start(), (error: unknown) => {
    const { code, message, remedy } = error as { code: string; message: string; remedy: string }
    return code === 'PORT_IN_USE' && message.includes(String(port)) && remedy.includes('FLEETPULSE_API_PORT')
  })
  await new Promise((resolve) => other.close(resolve))
  await server.start()
  assert.equal((await fetch(`${server.origin}/healthz`)).status, 200)
  await server.stop()
})
