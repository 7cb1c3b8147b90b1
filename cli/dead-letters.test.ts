import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { BusKey } from '../agents/bus/bus-key.ts'
import { seal } from '../agents/bus/envelope.ts'
import { setAside } from '../agents/bus/event-intake.ts'
import { GOLDEN_EVENTS } from '../agents/bus/testing/golden-events.ts'
import { readAll, T0 } from '../agents/testing/agents-fixture.ts'
import { TOPICS } from '../contracts/topics.ts'
import { ApiFixture, TOKEN } from '../dashboard/api/testing/api-fixture.ts'
import { ROOT } from '../test/testing/repository.ts'

const TOPIC = TOPICS.agentMessages
/** Longer than what lists show of it. */
const LONG = `${'x'.repeat(5_000)}, and its end`
let api: ApiFixture
let origin: string
before(async () => {
  api = await ApiFixture.open()
  await api.server.listen({ host: '127.0.0.1', port: 0 })
  origin = `http://127.0.0.1:${(api.server.server.address() as AddressInfo).port}`
  const { documents, eventLog } = api.services
  const key = new BusKey({ documents })
  await key.start()
  const [data] = GOLDEN_EVENTS.MessageSent
  const told = { id: 'inc_42', tenant: 'default', correlationId: 'c-1' }
  const ours = seal({ type: 'MessageSent', sequence: 1, at: T0, data: data as Record<string, unknown> }, told, key.secret)
  await eventLog.append(TOPIC, [ours, { key: 'x', schema: 'MessageSent/1', value: Buffer.from(`{"a":"\u001b[31mred","b":"${LONG}"}`) }])
  const [taken, foreign] = await readAll(eventLog, TOPIC)
  assert.ok(taken !== undefined && foreign !== undefined)
  await eventLog.append(`${TOPIC}.dlq`, [
    setAside(taken, 'failed: the store was away', 'journal-messages'),
    setAside(foreign, 'unsigned: it bears no signature', 'journal-messages'),
  ])
})
after(() => api.close())

function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { ...process.env, FLEETPULSE_TOKEN: TOKEN }
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(ROOT, 'dist/cli/main.js'), 'dead-letters', ...args, '--api', origin],
      { env },
      (error, stdout, stderr) => resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    )
  })
}

test('dead letters are listed and shown, inert, and told again', async () => {
  const [listed, first, gone, neither] = await Promise.all([
    run('list', '--json'),
    run('list', '--topic', TOPIC, '--limit', '1'),
    run('show', `${TOPIC}:0-999`),
    run('replay'),
  ])
  const letters = listed.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: string; state: string; cause: string })
  assert.deepEqual(
    letters.map(({ state, cause }) => [state, cause]),
    [
      ['foreign', 'unsigned: it bears no signature'],
      ['waiting', 'failed: the store was away'],
    ],
  )
  assert.equal(first.stdout.trim().split('\n').length, 1)
  assert.deepEqual([gone.code, neither.code], [2, 2])
  assert.match(gone.stderr, /there is no dead letter/)
  const [foreign, waiting] = letters as [(typeof letters)[number], (typeof letters)[number]]
  const shown = await run('show', foreign.id)
  assert.match(shown.stdout, /\{"a":".*x, and its end"\}\n\(\d+ bytes\)/, 'the whole of it')
  assert.match(shown.stdout, /^dlq-cause: unsigned: it bears no signature$/m)
  assert.match(shown.stdout, /^key: x$/m)
  assert.equal(shown.stdout.includes('\u001b'), false, 'a terminal obeys nothing of it')
  assert.notEqual((await run('replay', foreign.id)).code, 0, 'none of ours wrote it')
  const again = await run('replay', waiting.id, '--json')
  assert.equal((JSON.parse(again.stdout) as { id: string }).id, waiting.id, again.stderr)
  assert.equal((await readAll(api.services.eventLog, TOPIC)).length, 3)
  assert.match((await run('replay', '--all')).stdout, /^\d+ told again\n$/)
})
