import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { AnomalyOperator } from '../../anomaly/anomaly-operator.ts'
import { AppliedFeedback } from '../../anomaly/feedback/applied-feedback.ts'
import { AnomalyConfigSchema } from '../../anomaly/config.ts'
import { seriesWithEvents } from '../../anomaly/synthetic-events.ts'
import { ANOMALY, type Anomaly } from '../../contracts/anomaly.ts'
import { FEEDBACK, type Feedback } from '../../contracts/feedback.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { ApiFixture, defaultsOf } from './testing/api-fixture.ts'

const START_TS = 1_763_680_000_000
let fixture: ApiFixture
const anomalies: Anomaly[] = []

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 400; tries++) {
    const found = await look()
    if (found !== undefined) return found
    await sleep(systemClock, 25)
  }
  throw new Error('it did not come about')
}

before(async () => {
  fixture = await ApiFixture.open()
  const { registry, series, eventLog } = fixture.services
  await registry.createDevice('default', { id: 'pump-1', type: 'generic', labels: {} }, 'user:test')
  const { values } = seriesWithEvents({
    base: 'noise',
    kinds: ['platform', 'dip'],
    readings: 2_400,
    quiet: 700,
    every: 300,
    random: seededRandom(4),
  })
  const operator = new AnomalyOperator({ config: defaultsOf(AnomalyConfigSchema), silenceAfterMs: () => 0, metrics: new Metrics() })
  const state = operator.create('default', 'pump-1', 'generic')
  const rows = values.map((flow, offset): LoggedReading => {
    const ts = START_TS + offset * 1_000
    return {
      tenant: 'default',
      device: 'pump-1',
      type: 'generic',
      receivedAt: ts,
      correlationId: '',
      ts,
      seq: offset,
      boot: 'b',
      values: { flow },
      partition: 0,
      offset,
    }
  })
  for (const row of rows)
    operator.apply(state, row, { emit: (_topic, _schema, _tenant, _device, value) => void anomalies.push(value as Anomaly) })
  await series.write(rows, new Map([[0, rows.length]]))
  await eventLog.append(
    TOPICS.anomalies,
    anomalies.map((anomaly) => ({ key: 'default/pump-1', schema: ANOMALY, value: Buffer.from(JSON.stringify(anomaly)) })),
  )
  await until(async () => fixture.services.anomalies.get('default', anomalies.at(-1)?.id ?? '').catch(() => undefined))
})
after(() => fixture.close())

async function call<T>(method: 'GET' | 'POST', url: string, payload?: object): Promise<{ status: number; body: T }> {
  const answer = await fixture.ask(method, url, payload === undefined ? {} : { body: payload })
  return { status: answer.statusCode, body: answer.json() }
}

test('rejecting an anomaly: a preview by replay, applied as a version, undone', async () => {
  const [first] = anomalies
  assert.ok(first)
  const given = await call<Feedback>('POST', `/anomalies/${first.id}/feedback`, { verdict: 'rejected', cause: 'valve opened' })
  assert.equal(given.status, 201)
  assert.equal(given.body.state, 'given')
  assert.equal(given.body.fromTs, first.ts)
  assert.ok((given.body.event?.course.length ?? 0) > 0, 'the end of the event was found')
  const confirmed = anomalies.find((one) => one.phase === 'raised' && one.ts > first.ts + 250_000)
  assert.ok(confirmed)
  assert.equal((await call('POST', `/anomalies/${confirmed.id}/feedback`, { verdict: 'confirmed', cause: 'leak' })).status, 201)

  const { id } = given.body
  assert.equal((await call('POST', `/feedback/${id}/preview`, {})).status, 202)
  const { preview } = await until(async () => {
    const { body } = await call<Feedback>('GET', `/feedback/${id}`)
    return body.preview?.state === 'running' ? undefined : body
  })
  assert.ok(preview)
  assert.equal(preview.state, 'done', preview.problem)
  assert.equal(preview.readings, 2_400)
  assert.equal(preview.alarmsBefore, anomalies.filter(({ phase }) => phase === 'cleared').length)
  assert.ok(preview.alarmsRemoved >= 1 && preview.alarmsRemoved < preview.alarmsBefore, JSON.stringify(preview))
  assert.equal(preview.abnormalRanges, 1)
  assert.equal(preview.trueAlarmsLost, 0)

  const applied = await call<Feedback>('POST', `/feedback/${id}/apply`, {})
  assert.deepEqual([applied.status, applied.body.state, applied.body.change], [200, 'applied', 1])
  assert.equal((await call<Feedback>('POST', `/feedback/${id}/apply`, {})).body.change, 1, 'applying it again is no new version')
  const undone = await call<Feedback>('POST', `/feedback/${id}/undo`, {})
  assert.deepEqual([undone.body.state, undone.body.change], ['undone', 2])
  const { items } = (await call<{ items: Feedback[] }>('GET', '/feedback?device=pump-1&state=undone')).body
  assert.deepEqual(
    items.map((one) => one.id),
    [id],
  )
})

test('a labelled range is a label and no pattern; topic feedback tells of it', async () => {
  const { eventLog } = fixture.services
  const range = { device: 'pump-1', metric: 'flow', from: START_TS, to: '2025-11-21T00:00:00Z', verdict: 'confirmed', cause: 'leak' }
  const { status, body } = await call<Feedback>('POST', '/feedback', range)
  assert.equal(status, 201)
  assert.equal((await call('POST', `/feedback/${body.id}/apply`, {})).status, 409)
  assert.equal((await call<Feedback>('POST', `/feedback/${body.id}/withdraw`, {})).body.state, 'withdrawn')
  const told = await eventLog.read(TOPICS.feedback, 0, 0, 100)
  const own = told.filter(({ schema }) => schema === FEEDBACK).map(({ value }) => JSON.parse(Buffer.from(value).toString()) as Feedback)
  assert.deepEqual(
    own.filter(({ id }) => id === body.id).map(({ state }) => state),
    ['given', 'withdrawn'],
  )
})

test('feedback holds for a device, for a group as it is then, or for every device of the type', async () => {
  const { registry, documents } = fixture.services
  for (const [id, site] of [
    ['pump-8', 'north'],
    ['pump-9', 'south'],
  ] as const)
    await registry.createDevice('default', { id, type: 'generic', labels: { site } }, 'user:test')
  await registry.updateDevice('default', 'pump-1', { labels: { site: 'north' } }, undefined)
  const judged = anomalies.filter(({ phase }) => phase === 'raised').at(-1)
  assert.ok(judged)
  const applied = new AppliedFeedback({ documents, clock: systemClock, log: silentLogger, config: { feedbackPollMs: 60_000 } })
  await applied.start()
  after(() => applied.stop())
  await applied.take('scope-test', [7])
  let offset = 0
  const quiet = async (scope: object): Promise<string[]> => {
    const { body } = await call<Feedback>('POST', `/anomalies/${judged.id}/feedback`, { verdict: 'rejected', scope })
    assert.equal((await call<Feedback>('POST', `/feedback/${body.id}/apply`, {})).body.state, 'applied')
    await applied.refresh()
    await applied.adopt('scope-test', new Map([[7, ++offset]]))
    const found = ['pump-1', 'pump-8', 'pump-9', 'pump-10'].filter((device) =>
      applied.rulesFor('default', 'generic', device, 'flow', 7, offset).some(({ id }) => id === body.id),
    )
    const elsewhere = applied.rulesFor('other', 'generic', 'pump-1', 'flow', 7, offset).length
    const otherType = applied.rulesFor('default', 'pump', 'pump-1', 'flow', 7, offset).length
    assert.deepEqual([elsewhere, otherType], [0, 0])
    assert.equal((await call<Feedback>('POST', `/feedback/${body.id}/undo`, {})).body.state, 'undone')
    await applied.refresh()
    await applied.adopt('scope-test', new Map([[7, ++offset]]))
    assert.deepEqual(applied.rulesFor('default', 'generic', 'pump-1', 'flow', 7, offset), [])
    return found
  }
  assert.deepEqual(await quiet({ kind: 'device' }), ['pump-1'])
  assert.deepEqual(await quiet({ kind: 'group', label: 'site', value: 'north' }), ['pump-1', 'pump-8'])
  assert.deepEqual(await quiet({ kind: 'fleet' }), ['pump-1', 'pump-8', 'pump-9', 'pump-10'])
})

test('policies are read and replaced as a whole, by version, and the act is in the audit trail', async () => {
  type View = { policies: object[]; version: number; defaults: { alertThreshold: number } }
  const first = await fixture.ask('GET', '/detectors/policies')
  assert.deepEqual([first.json<View>().policies, first.headers.etag], [[], '"0"'])
  const policies = [{ type: 'pump', metric: 'flow', matchers: [{ label: 'site', is: 'north' }], alertThreshold: 0.9 }]
  const put = await fixture.ask('PUT', '/detectors/policies', { body: { policies }, headers: { 'if-match': '"0"' } })
  assert.equal(put.statusCode, 200, put.body)
  assert.deepEqual(put.json<View>().policies, [{ ...policies[0], device: '*' }])
  const late = await fixture.ask('PUT', '/detectors/policies', { body: { policies: [] }, headers: { 'if-match': '"0"' } })
  assert.equal(late.statusCode, 412)
  for (const bad of [[{ alertThreshold: 3 }], [{ impact: 'huge' }], [{ colour: 'red' }], Array.from({ length: 201 }, () => ({}))]) {
    assert.equal((await fixture.ask('PUT', '/detectors/policies', { body: { policies: bad } })).statusCode, 400)
  }
  const { body } = await call<{ items: { action: string; subject: { kind: string }; after: object[] }[] }>('GET', '/audit?limit=20')
  const entry = body.items.find(({ action, after }) => action === 'detector.policies' && Array.isArray(after))
  assert.deepEqual([entry?.subject.kind, entry?.after.length], ['policies', 1])
})

test('what cannot be is refused', async () => {
  const cleared = anomalies.find(({ phase }) => phase === 'cleared')
  assert.equal((await call('POST', `/anomalies/${cleared?.id ?? ''}/feedback`, { verdict: 'confirmed' })).status, 400)
  assert.equal((await call('POST', '/anomalies/none/feedback', { verdict: 'confirmed' })).status, 404)
  assert.equal((await call('POST', '/feedback', { device: 'nobody', from: 1, to: 2, verdict: 'confirmed' })).status, 404)
  assert.equal((await call('POST', '/feedback', { device: 'pump-1', from: 2, to: 1, verdict: 'confirmed' })).status, 400)
  assert.equal((await call('POST', `/anomalies/${anomalies[0]?.id ?? ''}/feedback`, { verdict: 'maybe' })).status, 400)
})

test('detectors and their settings are told, and whether a device is known well enough', async () => {
  const { body } = await call<{ detectors: { name: string; version: number }[]; settings: { alertThreshold: number } }>('GET', '/detectors')
  assert.deepEqual(
    body.detectors.map(({ name }) => name),
    ['ensemble', 'robust-online', 'label-surprise', 'correlation', 'peers'],
  )
  assert.equal(body.settings.alertThreshold, 0.65)
  await fixture.services.registry.createDevice('default', { id: 'pump-2', type: 'generic', labels: {} }, 'user:test')
  const known = await call<{ learning: boolean; text: string }>('GET', '/devices/pump-1/learning')
  assert.deepEqual([known.body.learning, known.body.text], [false, 'learnt'])
  const unknown = await call<{ learning: boolean; text: string }>('GET', '/devices/pump-2/learning')
  assert.match(unknown.body.text, /^learning, 0 of \d+ readings$/)
})

test('a preview goes by the thresholds that people put, for the device by its labels', async () => {
  const { registry, policies } = fixture.services
  const principal = { kind: 'user', id: 'ada', tenant: 'default', roles: ['admin'] } as const
  const [first] = anomalies
  assert.ok(first)
  const { id } = (await call<Feedback>('POST', `/anomalies/${first.id}/feedback`, { verdict: 'rejected' })).body
  const before = async (): Promise<number | undefined> => {
    assert.equal((await call('POST', `/feedback/${id}/preview`, {})).status, 202)
    const { preview } = await until(async () => {
      const { body } = await call<Feedback>('GET', `/feedback/${id}`)
      return body.preview?.state === 'running' ? undefined : body
    })
    assert.equal(preview?.state, 'done', preview?.problem)
    return preview?.alarmsBefore
  }
  const asConfigured = (await before()) ?? 0
  assert.ok(asConfigured > 0)
  await policies.put(principal, [{ type: '*', metric: 'flow', device: '*', matchers: [{ label: 'line', is: '7' }], alertThreshold: 1 }])
  assert.equal(await before(), asConfigured, 'the policy is for others')
  await registry.updateDevice('default', 'pump-1', { labels: { line: '7' } }, undefined)
  assert.equal(await before(), 0, 'nothing reaches its threshold')
  await registry.updateDevice('default', 'pump-1', { labels: {} }, undefined)
  await policies.put(principal, [])
})
