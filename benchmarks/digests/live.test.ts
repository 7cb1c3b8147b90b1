import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { USAGE } from '../../agents/brains/testing/wire-fixtures.ts'
import { WireServer } from '../../agents/brains/testing/wire-server.ts'
import { honestReply } from '../../test/testing/honest-model.ts'

const PROGRAM = fileURLToPath(new URL('../digests.js', import.meta.url))
interface Line {
  figure: string
  value: number | null
  [detail: string]: unknown
}

async function bench(env: Record<string, string>, ...args: string[]): Promise<{ code: number | null; lines: Line[]; said: string }> {
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('FLEETPULSE_')))
  const child = spawn(process.execPath, [PROGRAM, '--live', ...args], { env: { ...own, ...env } })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const [out, said] = await Promise.all([text(child.stdout), text(child.stderr)])
  const lines = out.split('\n').filter((line) => line !== '')
  return { code: await ended, lines: lines.map((line) => JSON.parse(line) as Line), said }
}
const settingsOf = (server: WireServer): Record<string, string> => ({
  FLEETPULSE_AGENTS_BRAIN: 'compatible',
  FLEETPULSE_BRAINS_COMPATIBLE_BASE_URL: `${server.origin}/v1`,
  FLEETPULSE_BRAINS_COMPATIBLE_MODEL: 'model-1',
})

test('without a model none is asked, and that is no failure', async () => {
  const { code, lines, said } = await bench({})
  assert.deepEqual([code, lines], [0, []])
  assert.match(said, /no model is configured/)
})

test('a model that words every second scenario truly has a half of them verified, and what it cost is counted whole', async (t) => {
  const server = await WireServer.start(t, 'compatible')
  const truths = new Map<string, boolean>()
  server.reply((body) => {
    const known = truths.get(body) ?? truths.size % 2 === 0
    truths.set(body, known)
    const reply = honestReply(body)
    // Well-formed, and of a claim that there is not: nothing that a repair would be asked for.
    return known ? reply : reply.replaceAll(/c\d+\./g, 'c999.')
  })
  const { code, lines, said } = await bench(settingsOf(server), '--families', 'level-shift,silence', '--iterations', '2')
  assert.equal(code, 0, said)
  const [verified, tokens, took] = lines as [Line, Line, Line]
  assert.equal(lines.length, 3)
  assert.deepEqual([verified.scenarios, verified.asked, verified.model, verified.provider], [10, 20, 'model-1', 'compatible'])
  assert.deepEqual([verified.value, verified.verified, verified.scenariosAlways, verified.not], [0.5, 10, 5, { unverified: 10 }])
  assert.deepEqual([tokens.input, tokens.output, tokens.value], [20 * USAGE.input, 20 * USAGE.output, USAGE.input + USAGE.output])
  assert.ok((took.value ?? 0) > 0 && server.requests.length === 20)
})

test('what cannot be asked for is said', async () => {
  for (const [option, value] of [
    ['--families', 'sabotage'],
    ['--iterations', '0'],
  ] as const) {
    const { code, said } = await bench({}, option, value)
    assert.equal(code, 1)
    assert.match(said, new RegExp(option))
  }
})

test('a model whose key is refused is not asked again and again', async (t) => {
  const server = await WireServer.start(t, 'compatible')
  server.say('key401')
  const { code, lines } = await bench(settingsOf(server), '--families', 'level-shift')
  assert.equal(code, 0)
  assert.deepEqual([lines[0]?.value, lines[0]?.not, server.requests.length], [0, { unauthorised: 1 }, 1])
})
