import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AuditEntry } from '../../contracts/audit.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { viewer, stranger } from '../../alerts/alerts-testing.ts'
import type { PreviewResult } from '../../processing/rules/rule-preview.ts'
import type { RuleView } from '../../processing/rules/rules-service.ts'
import { ApiFixture, problemOf } from './testing/api-fixture.ts'

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open()
})
after(() => api.close())

const RULE = { name: 'too high', metric: 'pressure', is: 'above', raise: 80, clear: 70, severity: 'critical', remedy: 'Open valve 3.' }

test('a rule is made, read, changed under its ETag and removed', async () => {
  const made = await api.ask('POST', '/rules', { body: RULE })
  assert.equal(made.statusCode, 201, made.body)
  const { id, ruleVersion, activeFrom, createdAt, on, forMs, enabled, matchers } = made.json<RuleView>()
  assert.deepEqual([ruleVersion, activeFrom - createdAt, on, forMs, enabled, matchers], [1, 200, { kind: 'readings' }, 0, true, []])
  assert.equal(made.headers.location, `/api/v1/rules/${id}`)
  const read = await api.ask('GET', `/rules/${id}`)
  assert.equal(read.headers.etag, made.headers.etag)

  const onWindow = { ...RULE, on: { kind: 'windows', window: 'tumbling', sizeMs: 60_000, aggregate: 'p95' } }
  const change = (headers: Record<string, string>) => api.ask('PUT', `/rules/${id}`, { body: onWindow, headers })
  const changed = await change({ 'if-match': String(made.headers.etag) })
  assert.equal(changed.statusCode, 200, changed.body)
  assert.deepEqual([changed.json<RuleView>().ruleVersion, changed.json<RuleView>().on], [2, onWindow.on])
  assert.equal(problemOf(await change({ 'if-match': String(made.headers.etag) })).status, 412)
  const { items } = (await api.ask('GET', '/rules')).json<{ items: RuleView[] }>()
  assert.deepEqual(
    items.map((rule) => [rule.id, rule.ruleVersion]),
    [[id, 2]],
  )
  assert.equal((await api.ask('DELETE', `/rules/${id}`)).statusCode, 204)
  assert.equal(problemOf(await api.ask('GET', `/rules/${id}`)).status, 404)
  assert.equal(problemOf(await api.ask('PUT', `/rules/${id}`, { body: RULE })).status, 404)
  assert.deepEqual((await api.ask('GET', '/rules')).json<{ items: unknown[] }>().items, [])
  const entries = (await api.ask('GET', '/audit?limit=100')).json<{ items: AuditEntry[] }>().items
  assert.deepEqual(
    entries
      .filter(({ action, outcome }) => action.startsWith('rule.') && outcome === 'done')
      .map(({ action, subject }) => `${action} ${subject.id === id}`),
    ['rule.remove true', 'rule.replace true', 'rule.create true'],
    'in the audit trail',
  )
})

for (const [what, changes, field] of [
  ['a limit that is no number', { raise: 'hot' }, 'raise'],
  ['an end on the wrong side', { clear: 90 }, 'clear'],
  ['an end of a comparison that needs none', { is: 'equal', raise: 'x', clear: 1 }, 'clear'],
  ['a window that is not kept', { on: { kind: 'windows', window: 'tumbling', sizeMs: 7_000, aggregate: 'max' } }, 'on.sizeMs'],
  ['a figure that is none', { on: { kind: 'windows', window: 'tumbling', sizeMs: 60_000, aggregate: 'mode' } }, 'on'],
  ['an unknown key', { colour: 'red' }, 'colour'],
  ['a matcher that is none', { matchers: [{ label: 'site', is: 'a', oops: 1 }] }, 'matchers'],
] as const) {
  test(`a rule with ${what} is refused, with the path and the reason`, async () => {
    const answer = await api.ask('POST', '/rules', { body: { ...RULE, ...changes } })
    const problem = problemOf(answer)
    assert.equal(problem.status, 400)
    assert.ok(JSON.stringify(problem).includes(field), answer.body)
  })
}

test('viewers read rules and change none; other tenants see none', async () => {
  const { rules } = api.services
  const { id } = (await api.ask('POST', '/rules', { body: RULE })).json<RuleView>()
  assert.equal((await rules.list(viewer)).length, 1)
  await assert.rejects(rules.remove(viewer, id), /may not write rules/)
  await assert.rejects(rules.get(stranger, id), /there is no rule/)
  assert.deepEqual(await rules.list(stranger), [])
  await rules.remove({ ...viewer, roles: ['operator'] }, id)
})

test('a preview counts how often a rule would have been broken by stored readings, window rules too', async () => {
  const toTs = 1_700_000_040_000
  const minute = 60_000
  const series = await stored(toTs)
  const preview = async (rule: object): Promise<PreviewResult> => {
    const answer = await api.ask('POST', '/rules/preview', { body: { rule: { ...RULE, ...rule }, to: toTs } })
    assert.equal(answer.statusCode, 200, answer.body)
    return answer.json<PreviewResult>()
  }
  const all = await preview({})
  assert.deepEqual([all.count, all.devicesFired, all.devices, all.readings, all.truncated], [3, 2, 2, series, false])
  assert.deepEqual(
    all.fired.map(({ device, at, until }) => [device, (at - toTs) / minute, until === null ? null : (until - toTs) / minute]),
    [
      ['pump-1', -90, -80],
      ['pump-1', -60, -50],
      ['pump-2', -30, null],
    ],
  )
  assert.equal((await preview({ matchers: [{ label: 'site', is: 'south' }] })).count, 1)
  assert.equal((await preview({ forMs: 15 * minute })).count, 1, 'that of pump-2 lasts')
  const windows = await preview({ on: { kind: 'windows', window: 'tumbling', sizeMs: minute, aggregate: 'min' } })
  assert.deepEqual([windows.count, windows.fired[0]?.at], [3, toTs - 89 * minute])
  assert.equal((await preview({ metric: 'flow' })).count, 0)
  const refused = await api.ask('POST', '/rules/preview', { body: { rule: RULE, from: toTs, to: toTs - 1 } })
  assert.equal(problemOf(refused).status, 400)
})

/** Two devices, a reading a minute over two hours: pump-1 is too high twice for ten minutes, pump-2 at the end. Answers how many. */
async function stored(toTs: number): Promise<number> {
  const rows: LoggedReading[] = []
  for (const [device, site] of [
    ['pump-1', 'north'],
    ['pump-2', 'south'],
  ] as const) {
    assert.equal((await api.ask('POST', '/devices', { body: { id: device, type: 'generic', labels: { site } } })).statusCode, 201)
    for (let back = 120; back > 0; back--) {
      const isHigh = device === 'pump-1' ? (back <= 90 && back > 80) || (back <= 60 && back > 50) : back <= 30
      const ts = toTs - back * 60_000
      const about = {
        tenant: 'default',
        device,
        type: 'generic',
        ts,
        receivedAt: ts,
        correlationId: 'c',
        partition: 0,
        offset: rows.length,
      }
      rows.push({ ...about, boot: 'b', seq: back, values: { pressure: isHigh ? 90 : 20 } })
    }
  }
  await api.services.series.write(rows, new Map([[0, rows.length]]))
  while ((await api.services.series.count('default')) < rows.length) await sleep(systemClock, 10)
  return rows.length
}
