import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { registryConfig } from '../../device-registry/config.ts'
import { DeviceImport } from '../../device-registry/import/device-import.ts'
import { readCsvRows } from '../../device-registry/import/csv-rows.ts'
import { silentLogger } from '../../kernel/log.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { ApiFixture, problemOf } from './testing/api-fixture.ts'

/* Devices from a CSV file, through the API and its real stations. */

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open()
  await api.ask('POST', '/device-types', { body: { id: 'pump', open: true, metrics: {} } })
})
after(() => api.close())

interface Answer {
  dryRun: boolean
  summary: Record<string, number>
  rows: { line: number; id: string; status: string; field?: string; problem?: string; token?: string }[]
}

async function send(text: string | Buffer, query = ''): Promise<Answer> {
  const answer = await api.ask('POST', `/devices/import${query}`, { body: text, headers: { 'content-type': 'text/csv' } })
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json<Answer>()
}

async function labelsOf(id: string): Promise<unknown> {
  return (await api.ask('GET', `/devices/${id}`)).json<{ labels: unknown }>().labels
}

test('a dry run says what would happen and changes nothing; then it happens; the same file again changes nothing', async () => {
  const file = '\ufeffid,type,site,label.floor\r\nrow-1,pump,"north, wing ""A""",1\r\nrow-2,,south,\r\n\r\nrow-3,pump,,2\r\n'
  const dry = await send(file, '?dryRun=true')
  assert.deepEqual([dry.dryRun, dry.summary], [true, { created: 3, changed: 0, unchanged: 0, failed: 0 }])
  assert.equal((await api.ask('GET', '/devices/row-1')).statusCode, 404)
  assert.deepEqual((await send(file)).summary, { created: 3, changed: 0, unchanged: 0, failed: 0 })
  assert.deepEqual(await labelsOf('row-1'), { site: 'north, wing "A"', floor: '1' })
  assert.deepEqual(await labelsOf('row-2'), { site: 'south' })
  const before = (await api.ask('GET', '/devices?text=row-')).json<object>()
  assert.deepEqual((await send(file)).summary, { created: 0, changed: 0, unchanged: 3, failed: 0 })
  assert.deepEqual((await api.ask('GET', '/devices?text=row-')).json(), before, 'not even a version')
  const changed = 'id,site\nrow-1,east\nrow-2,south\n'
  assert.deepEqual((await send(changed, '?dryRun=true')).summary, { created: 0, changed: 1, unchanged: 1, failed: 0 })
  assert.deepEqual(await labelsOf('row-1'), { site: 'north, wing "A"', floor: '1' })
  assert.deepEqual(
    (await send(changed)).rows.map(({ status }) => status),
    ['changed', 'unchanged'],
  )
  assert.deepEqual(await labelsOf('row-1'), { site: 'east', floor: '1' }, 'labels that the file does not name stay')
})

test('each row stands for itself: what is wrong is said with line, column and rule, and the others hold', async () => {
  await api.ask('POST', '/devices', { body: { id: 'gone-1', type: 'generic' } })
  await api.services.registry.transition('default', 'gone-1', 'decommissioning', 'user:t').catch(() => undefined)
  await api.services.registry.transition('default', 'gone-1', 'decommissioned', 'user:t')
  const answer = await send(
    [
      'id,type,site',
      'ok-1,pump,a',
      '-bad,pump,a',
      'ok-2,rocket,a',
      'ok-1,pump,b',
      'ok-3,pump',
      `ok-4,pump,${'x'.repeat(300)}`,
      'gone-1,,a',
      ',pump,a',
      'ok-5,pump,a',
    ].join('\n'),
  )
  assert.deepEqual(
    answer.rows.map(({ line, status, field }) => [line, status, field]),
    [
      [2, 'created', undefined],
      [3, 'failed', 'id'],
      [4, 'failed', 'type'],
      [5, 'failed', 'id'],
      [6, 'failed', 'row'],
      [7, 'failed', 'labels.site'],
      [8, 'failed', 'id'],
      [9, 'failed', 'id'],
      [10, 'created', undefined],
    ],
  )
  assert.deepEqual(answer.summary, { created: 2, changed: 0, unchanged: 0, failed: 7 })
  const problems = answer.rows.map(({ problem }) => problem ?? '')
  for (const [row, rule] of [
    [1, /not a device id/],
    [2, /no device type "rocket"/],
    [3, /in line 2 already/],
    [4, /2 cells, the header has 3/],
    [5, /256/],
    [6, /decommissioned/],
  ] as const) {
    assert.match(problems[row] as string, rule)
  }
  const again = await send('id,type\nok-1,generic\n')
  assert.match(again.rows[0]?.problem ?? '', /is of type "pump"/)
})

test('a file that is not one changes nothing, and says where', async () => {
  const cases: [string, string | Buffer, RegExp][] = [
    ['empty', '\n\n', /empty/],
    ['no id', 'name,type\na,b\n', /no column "id"/],
    ['a column twice', 'id,site,site\na,b,c\n', /"site" is there twice/],
    ['a label twice', 'id,site,label.site\na,b,c\n', /cannot be a label/],
    ['a nameless column', 'id,,type\na,b,c\n', /cannot be a label/],
    ['too many columns', `id,${Array.from({ length: 70 }, (_, i) => `l${i}`).join(',')}\n`, /70 columns of labels, allowed are 64/],
    ['an open quote', 'id,site\nsafe-1,a\nsafe-2,"b\n', /not CSV/],
    ['a stray quote', 'id,site\nsafe-1,a\nsafe-2,b"c"\n', /line 3: not CSV/],
    ['not UTF-8', Buffer.from('id,site\nsafe-1,\xff\n', 'latin1'), /not UTF-8/],
    ['a huge row', `id,site\nsafe-1,a\nsafe-2,"${'x'.repeat(100_000)}"\n`, /not CSV/],
  ]
  for (const [what, file, rule] of cases) {
    const problem = problemOf(await api.ask('POST', '/devices/import', { body: file, headers: { 'content-type': 'text/csv' } }))
    assert.equal(problem.status, 400, what)
    assert.match(problem.detail, rule, what)
  }
  assert.equal((await api.ask('GET', '/devices/safe-1')).statusCode, 404, 'nothing of it was done')
  assert.equal((await api.ask('POST', '/devices/import', { body: {} })).statusCode, 415)
  assert.equal(
    problemOf(await api.ask('POST', '/devices/import?dryRun=perhaps', { body: 'id\n', headers: { 'content-type': 'text/csv' } })).status,
    400,
  )
  assert.equal(
    (await api.ask('POST', '/devices', { body: 'id\n', headers: { 'content-type': 'text/csv' } })).statusCode,
    415,
    'other routes take no files',
  )
})

test('bounds hold while the file is read, not after', async () => {
  let given = 0
  async function* endless(): AsyncGenerator<Buffer> {
    yield Buffer.from('id\n')
    for (;;) yield Buffer.from(`device-${given++}\n`)
  }
  const limits = { bytesMax: 100_000, rowsMax: 1_000_000, labelsMax: 4 }
  await assert.rejects(readCsvRows(endless(), limits), /more than 100000 bytes/)
  assert.ok(given < 100_000, `${given} rows were taken`)
  await assert.rejects(readCsvRows(endless(), { ...limits, bytesMax: 1e9, rowsMax: 50 }), /more than 50 rows/)
  const small = new DeviceImport({
    registry: api.services.registry,
    log: silentLogger,
    registryConfig: registryConfig({ importRowsMax: 1 }),
  })
  await assert.rejects(small.run(once('id\nbound-1\nbound-2\n'), { tenant: 'default', dryRun: false, by: 'user:t' }), InvalidInputError)
  assert.equal((await api.ask('GET', '/devices/bound-1')).statusCode, 404)
})

test('tokens are made for new devices alone, and each lets its device enrol', async () => {
  const first = await send('id\ntok-1\ntok-2\n-x\n', '?tokens=true')
  const tokens = first.rows.map(({ token }) => token)
  assert.deepEqual(
    tokens.map((token) => typeof token),
    ['string', 'string', 'undefined'],
  )
  assert.equal((await api.services.enrolmentTokens.check('tok-1', tokens[0] as string)).status, 'usable')
  assert.equal((await api.services.enrolmentTokens.check('tok-1', tokens[1] as string)).status, 'refused')
  assert.ok((await send('id\ntok-1\ntok-2\n', '?tokens=true')).rows.every(({ token }) => token === undefined))
  assert.ok((await send('id\ntok-9\n', '?tokens=true&dryRun=true')).rows.every(({ token }) => token === undefined))
})

test('any bytes are read or refused', async () => {
  const cell = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('id', 'type', '"', ',', '\n', '\r\n', '\ufeff', 'a', '\0'))
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.array(cell, { maxLength: 30 }).map((parts) => Buffer.from(`id,a${parts.join('')}`)),
      ),
      async (bytes) => {
        try {
          for (const read of await readCsvRows(once(Buffer.from(bytes)), { bytesMax: 10_000, rowsMax: 100, labelsMax: 8 })) {
            assert.ok(read.row.line >= 1 && typeof read.row.id === 'string')
          }
        } catch (error) {
          assert.ok(error instanceof InvalidInputError, String(error))
        }
      },
    ),
    { numRuns: 300 },
  )
})

async function* once(text: string | Buffer): AsyncGenerator<Buffer> {
  yield Buffer.from(text)
}
