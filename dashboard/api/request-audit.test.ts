import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { InjectOptions } from 'fastify'
import type { AuditEntry } from '../../contracts/audit.ts'
import { AuditVerifier } from '../../device-registry/audit/verifier.ts'
import { StoreError } from '../../kernel/errors.ts'
import { systemClock } from '../../kernel/time.ts'
import { API_PREFIX } from './context.ts'
import { actionOf, CHANGES_NOTHING } from './request-audit.ts'
import { ApiFixture, TOKEN } from './testing/api-fixture.ts'

const CHANGING = ['post', 'put', 'patch', 'delete'] as const

interface Route {
  method: (typeof CHANGING)[number]
  path: string
}

/** Every route of the OpenAPI document that may change something, or those that say that they don't. */
async function changingRoutes(api: ApiFixture, asks = false): Promise<Route[]> {
  const { paths } = (await api.server.inject('/openapi.json')).json<{ paths: Record<string, Record<string, object>> }>()
  return Object.entries(paths).flatMap(([path, item]) =>
    CHANGING.filter((method) => item[method] !== undefined && CHANGES_NOTHING in item[method] === asks).map((method) => ({ method, path })),
  )
}

async function entriesOf(api: ApiFixture, query = ''): Promise<AuditEntry[]> {
  const answer = await api.ask('GET', `/audit?limit=1000${query}`)
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json<{ items: AuditEntry[] }>().items
}

/** An entry is found by the correlation id that the request carried. */
async function entryOf(api: ApiFixture, correlationId: string): Promise<AuditEntry | undefined> {
  return (await entriesOf(api)).find((entry) => entry.correlationId === correlationId)
}

test('no route that may change something can be called without leaving an entry, refused or not', async (t) => {
  const api = await ApiFixture.open()
  t.after(() => api.close())
  const routes = await changingRoutes(api)
  assert.ok(routes.length >= 15, `only ${routes.length} routes`)
  for (const [index, { method, path }] of routes.entries()) {
    const url = path.replace(/\{[^}]+\}/g, 'x-1')
    const isOpen = path === `${API_PREFIX}/session` || path.startsWith(`${API_PREFIX}/auth/`)
    const ask = (correlationId: string, headers: Record<string, string>) =>
      api.server.inject({
        method: method.toUpperCase() as NonNullable<InjectOptions['method']>,
        url,
        // Each from an address of its own, so that none is counted together with another.
        remoteAddress: `10.${headers.authorization === undefined ? 1 : 2}.0.${index + 1}`,
        headers: { 'x-correlation-id': correlationId, ...headers },
        ...(method === 'delete' ? {} : { payload: {} }),
      })
    const noun = actionOf(method.toUpperCase(), path.replace(/\{(\w+)\}/g, ':$1')).split('.')[0]
    const stranger = await ask(`stranger-${index}`, {})
    if (!isOpen) assert.equal(stranger.statusCode, 401, `${method} ${path}`)
    const refused = await entryOf(api, `stranger-${index}`)
    assert.ok(refused !== undefined, `${method} ${path} left no entry when it was refused`)
    assert.ok(isOpen || (refused.outcome === 'refused' && refused.actor === 'anonymous'), `${method} ${path}: ${JSON.stringify(refused)}`)
    const known = await ask(`known-${index}`, { authorization: `Bearer ${TOKEN}` })
    const entry = await entryOf(api, `known-${index}`)
    assert.ok(entry !== undefined, `${method} ${path} answered ${known.statusCode} and left no entry`)
    assert.deepEqual([entry.outcome, entry.action.split('.')[0]], [known.statusCode < 400 ? 'done' : 'failed', noun], `${method} ${path}`)
    if (!isOpen) assert.equal(entry.actor, 'user:admin')
  }
})

test('a POST that only asks leaves no entry, unless it was refused', async (t) => {
  const api = await ApiFixture.open()
  t.after(() => api.close())
  const routes = await changingRoutes(api, true)
  assert.deepEqual(
    routes.map(({ method, path }) => `${method} ${path.slice(API_PREFIX.length)}`).toSorted(),
    ['post /routing/preview', 'post /rules/preview'].toSorted(),
  )
  for (const { path } of routes) {
    const asked = await api.ask('POST', path.slice(API_PREFIX.length), { body: { labels: {} }, headers: { 'x-correlation-id': 'asked' } })
    assert.ok(asked.statusCode === 200 || asked.statusCode === 400, asked.body)
    assert.equal(await entryOf(api, 'asked'), undefined)
    const refused = { authorization: 'Bearer wrong', 'x-correlation-id': 'refused' }
    assert.equal((await api.server.inject({ method: 'POST', url: path, headers: refused, payload: {} })).statusCode, 401)
    assert.equal((await entryOf(api, 'refused'))?.outcome, 'refused')
  }
})

test('what was done is told with subject, before and after, and no secret', async (t) => {
  const api = await ApiFixture.open()
  t.after(() => api.close())
  const done = async (
    method: 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<{ entry: AuditEntry; answer: { id?: string; endpoint?: { id: string } } }> => {
    const correlationId = `c-${method}-${path.replaceAll('/', '.')}`.slice(0, 64)
    const answer = await api.ask(method, path, { ...(body === undefined ? {} : { body }), headers: { 'x-correlation-id': correlationId } })
    assert.ok(answer.statusCode < 300, `${method} ${path}: ${answer.body}`)
    const entry = await entryOf(api, correlationId)
    assert.ok(entry !== undefined, `${method} ${path}`)
    assert.deepEqual([entry.outcome, entry.actor, entry.origin], ['done', 'user:admin', '127.0.0.1'])
    return { entry, answer: answer.statusCode === 204 ? {} : answer.json() }
  }
  const registered = await done('POST', '/devices', { id: 'pump-1', type: 'generic' })
  assert.deepEqual([registered.entry.action, registered.entry.subject], ['device.register', { kind: 'device', id: 'pump-1' }])
  const labelled = await done('PATCH', '/devices/pump-1', { labels: { hall: '3' } })
  assert.deepEqual(
    [labelled.entry.action, labelled.entry.before, labelled.entry.after],
    ['device.change', { labels: {} }, { labels: { hall: '3' } }],
  )
  const suspended = await done('POST', '/devices/pump-1/state', { state: 'suspended', why: 'leaks' })
  assert.deepEqual([suspended.entry.action, suspended.entry.why], ['device.suspend', 'leaks'])
  assert.deepEqual([suspended.entry.before, (suspended.entry.after as { state: string }).state], [{ state: 'registered' }, 'suspended'])
  const type = await done('POST', '/device-types', { id: 'pump', open: true })
  assert.deepEqual(type.entry.subject, { kind: 'device-type', id: 'pump' })
  const replaced = await done('PUT', '/device-types/pump', { open: false })
  assert.deepEqual([(replaced.entry.before as { open: boolean }).open, (replaced.entry.after as { open: boolean }).open], [true, false])
  const token = await done('POST', '/enrolment-tokens', { deviceId: 'pump-2' })
  assert.deepEqual([token.entry.action, token.entry.subject.id], ['enrolment-token.create', 'pump-2'])
  const webhook = await done('POST', '/webhooks', { url: 'https://hooks.example.org/in' })
  const id = webhook.answer.endpoint?.id ?? ''
  assert.deepEqual(webhook.entry.subject, { kind: 'webhook', id })
  const off = await done('PATCH', `/webhooks/${id}`, { enabled: false })
  assert.deepEqual([(off.entry.before as { enabled: boolean }).enabled, (off.entry.after as { enabled: boolean }).enabled], [true, false])
  await done('POST', `/webhooks/${id}/rotate-secret`, { keepOldMs: 0 })
  await done('DELETE', `/webhooks/${id}`)
  const opened = await done('POST', '/session', { token: TOKEN })
  assert.deepEqual([opened.entry.action, opened.entry.subject], ['session.open', { kind: 'user', id: 'admin' }])

  const exported = await api.ask('GET', '/audit/export')
  assert.match(String(exported.headers['content-type']), /^application\/x-ndjson/)
  assert.ok(
    !exported.body.includes('whsec_') &&
      !exported.body.includes(TOKEN) &&
      !exported.body.includes((token.answer as { token?: string }).token ?? '?'),
    'a secret is in the trail',
  )
  const verifier = new AuditVerifier([])
  const lines = exported.body.trimEnd().split('\n')
  for (const line of lines) {
    const record = JSON.parse(line) as { kind: string; entry?: unknown }
    if (record.kind === 'entry') verifier.takeEntry(record.entry)
  }
  const report = verifier.finish()
  assert.deepEqual(report.faults, [])
  assert.equal((await entriesOf(api, '&action=audit.export')).length, 1, 'who took the trail away is in it too')
})

test('an act that cannot be recorded is answered as failed, and not kept for its key', async (t) => {
  const api = await ApiFixture.open()
  t.after(() => api.close())
  const { auditTrail } = api.services
  const record = auditTrail.record.bind(auditTrail)
  auditTrail.record = () => Promise.reject(new StoreError('STORE_FULL', 'the disk is full'))
  const headers = { 'idempotency-key': 'k-1' }
  const failed = await api.ask('POST', '/device-types', { body: { id: 'pump' }, headers })
  assert.equal(failed.statusCode, 500, failed.body)
  assert.equal((await api.server.inject({ method: 'DELETE', url: '/api/v1/devices' })).statusCode, 405)
  assert.equal((await api.server.inject({ method: 'POST', url: '/api/v1/devices' })).statusCode, 401, 'a refusal stands')
  auditTrail.record = record
  assert.equal((await api.ask('POST', '/device-types', { body: { id: 'pump-b' }, headers: { 'idempotency-key': 'k-2' } })).statusCode, 201)
  const before = (await entriesOf(api)).length
  const again = await api.ask('POST', '/device-types', { body: { id: 'pump-b' }, headers: { 'idempotency-key': 'k-2' } })
  assert.equal(again.headers['idempotency-replayed'], 'true')
  assert.equal((await entriesOf(api)).length, before, 'an answer given again is no act')
})

test('a flood of refused requests leaves two entries of each kind, and few in all', async (t) => {
  const windowMs = 1_000
  const api = await ApiFixture.open({}, { refusalWindowMs: windowMs, refusalKindsMax: 5 })
  t.after(() => api.close())
  const startedMs = systemClock.monotonicMs()
  for (let index = 0; index < 200; index++) {
    await api.server.inject({
      method: 'POST',
      url: '/api/v1/devices',
      remoteAddress: `10.0.0.${index % 20}`,
      headers: { authorization: 'Bearer wrong' },
    })
  }
  const deadlineMs = systemClock.monotonicMs() + 60_000
  let refused: AuditEntry[] = []
  while (refused.reduce((sum, { count }) => sum + (count ?? 1), 0) < 200) {
    assert.ok(systemClock.monotonicMs() < deadlineMs, JSON.stringify(refused))
    await new Promise<void>((resolve) => systemClock.after(50, resolve))
    refused = await entriesOf(api, '&outcome=refused')
  }
  // A slow machine asks through more windows: each has two entries of each of five kinds and of the rest, and one may be cut at either end.
  const windows = Math.floor((systemClock.monotonicMs() - startedMs) / windowMs) + 2
  assert.ok(refused.length <= Math.min(12 * windows, 100), `${refused.length} entries in ${windows} windows`)
  // Reading is audited where it was refused.
  await api.server.inject({ method: 'GET', url: '/api/v1/devices', remoteAddress: '10.9.9.9' })
  await api.ask('GET', '/devices')
  await api.server.inject({ method: 'GET', url: '/api/v1/devices', remoteAddress: '10.9.9.8', headers: { authorization: 'Bearer wrong' } })
  assert.deepEqual(
    (await entriesOf(api, '&action=device.read')).map(({ origin }) => origin).toSorted(),
    ['10.9.9.8', '10.9.9.9'],
  )
})

test('the list pages and filters; what no list answered is refused', async (t) => {
  const api = await ApiFixture.open()
  t.after(() => api.close())
  for (let index = 0; index < 5; index++) await api.ask('POST', '/devices', { body: { id: `d-${index}`, type: 'generic' } })
  assert.deepEqual(
    (await entriesOf(api, '&device=d-3')).map(({ action }) => action),
    ['device.register'],
  )
  assert.equal((await entriesOf(api, '&action=device.register&actor=user:admin&from=0')).length, 5)
  const first = (await api.ask('GET', '/audit?limit=2')).json<{ items: AuditEntry[]; next: string }>()
  const second = (await api.ask('GET', `/audit?limit=2&cursor=${first.next}`)).json<{ items: AuditEntry[] }>()
  assert.deepEqual(
    [...first.items, ...second.items].map(({ seq }) => seq),
    [5, 4, 3, 2],
  )
  assert.equal((await api.ask('GET', '/audit?cursor=abc')).statusCode, 400)
  assert.equal((await api.ask('GET', '/audit?outcome=maybe')).statusCode, 400)
  assert.equal((await api.ask('GET', '/audit/checkpoint')).body, 'null')
  assert.deepEqual((await api.ask('GET', '/audit/keys')).json(), { keys: [] })
})

test('an act whose entry a crash cut off is recorded at the next start, as one that may have been done', async (t) => {
  const api = await ApiFixture.open()
  t.after(() => api.close())
  const { auditTrail } = api.services
  assert.equal((await api.ask('POST', '/device-types', { body: { id: 'whole' } })).statusCode, 201)
  const record = auditTrail.record.bind(auditTrail)
  // As a kill between the act and its entry leaves it: the type is there, nothing says who made it.
  auditTrail.record = () => Promise.reject(new StoreError('STORE_FULL', 'the disk is full'))
  assert.equal((await api.ask('POST', '/device-types', { body: { id: 'cut-off' } })).statusCode, 500)
  auditTrail.record = record
  assert.equal((await api.ask('GET', '/device-types/cut-off')).statusCode, 200)
  const told = async (): Promise<unknown[]> =>
    (await entriesOf(api, '&action=device-type.create')).map(({ subject, actor, outcome, why }) => [subject.id, actor, outcome, why])
  const whole = ['whole', 'user:admin', 'done', undefined]
  assert.deepEqual(await told(), [whole])
  for (let start = 0; start < 2; start++) {
    await auditTrail.settle()
    const cutOff = ['cut-off', 'user:admin', 'failed', 'the process ended before it was answered; it may have been done']
    assert.deepEqual(await told(), [cutOff, whole])
  }
})
