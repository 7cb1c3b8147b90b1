import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { ReadingOutcome } from '../../contracts/uplink.ts'
import { EnvironmentError, LimitError } from '../../kernel/errors.ts'
import { enrolDevice } from '../doors/device-bundle.ts'
import { startStation, type Station } from '../testing/station.ts'

/** curl is no part of Node; FLEETPULSE_REQUIRE_TOOLS=1 makes its absence a failure. */
const hasCurl = process.env.FLEETPULSE_REQUIRE_TOOLS === '1' || spawnSync('curl', ['--version']).status === 0
if (!hasCurl) console.warn('SKIPPED: the HTTPS door was not tested, there is no curl')
const skip = hasCurl ? false : 'there is no curl'

const REJECTED: ReadingOutcome = { status: 'rejected', of: 'reading', reason: 'out-of-range', detail: '"t" 900 is above 200' }
const ACCEPTED: ReadingOutcome = { status: 'accepted' }

let station: Station
before(async () => {
  station = await startStation({ telemetryBodyBytesMax: 1_024, telemetryRatePerS: 0.5, telemetryBurstMax: 20 })
})
after(() => station.stop())

/** A device's files, as a person has them. */
async function filesOf(device: string): Promise<string[]> {
  const token = await station.token(device)
  const bundle = await enrolDevice(device, (csr) => station.estClient().enrol(csr, { deviceId: device, token }))
  const path = (name: string): string => join(station.folder, `${device}-${name}.pem`)
  await writeFile(path('key'), bundle.keyPem)
  await writeFile(path('cert'), bundle.certPem)
  return ['--cert', path('cert'), '--key', path('key')]
}

interface Answer {
  status: number
  headers: Record<string, string>
  body: Record<string, unknown>
}

async function curl(args: readonly string[], path = '/ingest/v1/telemetry'): Promise<Answer> {
  const ca = join(station.folder, 'trust.pem')
  await writeFile(ca, station.authority.caPem)
  const command = ['-sS', '-i', '--cacert', ca, ...args, `${station.origin}${path}`]
  const text = await new Promise<string>((resolve, reject) => {
    execFile('curl', command, { timeout: 10_000 }, (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(stderr, { cause: error })),
    )
  })
  const [head = '', ...rest] = text.split('\r\n\r\n')
  const [first = '', ...lines] = head.split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
  )
  const body = rest.join('\r\n\r\n')
  return { status: Number(first.split(' ')[1]), headers, body: body === '' ? {} : (JSON.parse(body) as Record<string, unknown>) }
}

const json = (body: string): string[] => ['-H', 'content-type: application/json', '-d', body]

/** The problem's status and code; fails for an answer of another kind. */
function problemOf({ status, headers, body }: Answer): [number, unknown] {
  assert.match(headers['content-type'] ?? '', /^application\/problem\+json/)
  assert.equal(body.status, status)
  assert.ok(String(body.type).startsWith('urn:fleetpulse:problem:') && String(body.detail).length > 5, JSON.stringify(body))
  return [status, body.code]
}

test('curl with a device certificate: 202 with an outcome for each reading, in order', { skip }, async () => {
  const files = await filesOf('c1')
  station.sink.outcomes = [ACCEPTED, REJECTED, ACCEPTED]
  const answer = await curl([...files, ...json('[{"values":{"t":1}},{"values":{"t":900}},{"values":{"t":2}}]')])
  assert.equal(answer.status, 202)
  const items = [
    { status: 'accepted' },
    { status: 'rejected', reason: 'out-of-range', detail: '"t" 900 is above 200' },
    { status: 'accepted' },
  ]
  assert.deepEqual(answer.body, { accepted: 2, rejected: 1, items })
  const uplink = station.sink.uplinks.at(-1)
  assert.deepEqual([uplink?.device, uplink?.path, answer.headers['x-correlation-id']], ['c1', 'telemetry', uplink?.correlationId])
  station.sink.outcomes = [ACCEPTED]
})

test('when every reading is rejected it is 422 with the reasons; a body without readings is 400', { skip }, async () => {
  const files = await filesOf('c2')
  station.sink.outcomes = [REJECTED, REJECTED]
  const rejected = await curl([...files, ...json('[]')])
  assert.deepEqual(problemOf(rejected), [422, 'INVALID_INPUT'])
  assert.equal((rejected.body.items as unknown[]).length, 2)
  station.sink.outcomes = [{ status: 'rejected', of: 'payload', reason: 'undecodable', detail: 'the payload is not JSON' }]
  const malformed = await curl([...files, ...json('{')])
  assert.deepEqual([...problemOf(malformed), malformed.body.reason], [400, 'INVALID_INPUT', 'undecodable'])
  station.sink.outcomes = [ACCEPTED]
})

test('refusals are problem details that say why', { skip }, async () => {
  const files = await filesOf('c3')
  const form = await curl([...files, '-d', '{}'])
  assert.deepEqual(problemOf(form), [415, 'INVALID_INPUT'])
  assert.deepEqual(problemOf(await curl([...files, ...json('{}'), '-H', 'content-encoding: gzip'])), [415, 'INVALID_INPUT'])
  assert.deepEqual(problemOf(await curl([...files, ...json(`{"x":"${'x'.repeat(2_000)}"}`)])), [413, 'INVALID_INPUT'])
  const stranger = await curl(json('{}'))
  assert.deepEqual(problemOf(stranger), [401, 'UNAUTHENTICATED'])
  assert.ok(stranger.headers['www-authenticate'])
  const read = await curl(files)
  assert.deepEqual([...problemOf(read), read.headers.allow], [405, 'METHOD_NOT_ALLOWED', 'POST'])
  assert.deepEqual(problemOf(await curl(files, '/ingest/v1/other')), [404, 'NOT_FOUND'])
  station.registrar.setState('default', 'c3', 'suspended')
  assert.deepEqual(problemOf(await curl([...files, ...json('{}')])), [403, 'FORBIDDEN'])
})

test('what cannot be made durable is 503 with Retry-After, whatever stood in the way, and nothing of it is told', { skip }, async () => {
  const files = await filesOf('c4')
  for (const refusal of [
    new EnvironmentError('LOG_UNAVAILABLE', 'the disk at /secret/path is away'),
    new LimitError('pendingBytesMax'),
    new Error('secret'),
  ]) {
    station.sink.refusal = refusal
    const answer = await curl([...files, ...json('{}')])
    assert.deepEqual(problemOf(answer), [503, 'UPLINK_FAILED'])
    assert.ok(Number(answer.headers['retry-after']) > 0)
    assert.doesNotMatch(JSON.stringify(answer.body), /secret|pending/)
  }
  station.sink.refusal = undefined
  assert.equal((await curl([...files, ...json('{}')])).status, 202)
})

test('a device above its rate is told when to come again, and its neighbour is not held up', { skip }, async () => {
  const [files, neighbour] = [await filesOf('c5'), await filesOf('c6')]
  let throttled: Answer | undefined
  for (let i = 0; i < 40 && throttled === undefined; i++) {
    const answer = await curl([...files, ...json('{}')])
    if (answer.status === 429) throttled = answer
    else assert.ok(answer.status === 202 && i < 35, `request ${i}: ${answer.status}`)
  }
  assert.ok(throttled, 'never throttled')
  assert.deepEqual(problemOf(throttled), [429, 'LIMIT_REACHED'])
  assert.ok(Number(throttled.headers['retry-after']) >= 1)
  assert.equal((await curl([...neighbour, ...json('{}')])).status, 202)
})
