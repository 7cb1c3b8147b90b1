import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import { sleep, systemClock, VirtualClock } from '../../kernel/time.ts'
import { documentsIn, temporaryFolder } from '../../storage/documents/testing/lmdb-fixture.ts'
import { openTemporaryLog, topicSpec } from '../../storage/event-log/temporary-log.ts'
import { BusKey } from '../bus/bus-key.ts'
import { BUS_TOPICS } from '../bus/event-types.ts'
import { Roster } from '../roster/roster.ts'
import { agentsConfig } from '../testing/agents-fixture.ts'
import { Events } from './events.ts'

const KILLS = 3
const WAIT_MAX_MS = 60_000
const SEED = process.env.TEST_SEED ?? 'telling'

test('after kill -9 at any moment everything that was changed is told, and has its effect once', async (t) => {
  t.diagnostic(`seed ${SEED}`)
  const random = seededRandom(SEED)
  const folder = await temporaryFolder(t)
  await mkdir(join(folder, 'log'), { recursive: true })
  const prepared = await openTemporaryLog({ directory: join(folder, 'log') })
  await prepared.log.ensureTopics(BUS_TOPICS.flatMap((topic) => [topicSpec(topic), topicSpec(`${topic}.dlq`)]))
  await prepared.close()
  const retired: string[] = []
  for (let kill = 0; kill < KILLS; kill++) retired.push(...(await comeAndGo(folder, `k${kill}`, integerBetween(random, 20, 200))))
  assert.ok(retired.length >= KILLS, `${retired.length} agents came and went`)
  const { effects, waiting, gaps } = await whatBecame(t, folder, retired)
  assert.deepEqual([waiting, gaps], [[], []], 'nothing is lost')
  assert.equal(new Set(effects).size, effects.length, 'no effect twice')
  for (const agent of retired) assert.ok(effects.includes(agent), `nobody heard that ${agent} went`)
})

/** Kills the child so many ms after its first agent went; answers those that it said went. */
async function comeAndGo(folder: string, name: string, killAfterMs: number): Promise<string[]> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('../testing/telling-child.js', import.meta.url)), folder, name])
  let output = ''
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const exited = once(child, 'close')
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes('\n')) resolve()
    })
    void exited.then(() => resolve())
  })
  await wait(killAfterMs)
  child.kill('SIGKILL')
  const [, signal] = (await exited) as [number | null, string | null]
  assert.equal(signal, 'SIGKILL', errors)
  return output.split('\n').slice(0, -1)
}

/** Starts again, tells what was not told, and looks at the journal and at the effects. */
async function whatBecame(t: TestContext, folder: string, retired: readonly string[]) {
  const documents = documentsIn(join(folder, 'documents'))
  await documents.start()
  t.after(() => documents.stop())
  const { log: eventLog, close } = await openTemporaryLog({ directory: join(folder, 'log') })
  t.after(close)
  const clock = new VirtualClock(systemClock.nowMs() + 600_000)
  const common = { documents, eventLog, random: seededRandom(1), log: silentLogger, metrics: new Metrics(), config: agentsConfig() }
  const key = new BusKey(common)
  await key.start()
  const roster = new Roster({ ...common, key, clock })
  await roster.start()
  t.after(() => roster.stop())
  await roster.republish()
  const effects: string[] = []
  const react = async ({ type, data }: { type: string; data: Record<string, unknown> }): Promise<void> => {
    if (type === 'AgentRetired') effects.push(String(data.agentId))
  }
  const auditTrail = { record: (): Promise<void> => Promise.reject(new Error('nothing is forged here')) }
  const events = new Events({ ...common, clock: systemClock, key, auditTrail, react, works: true })
  await events.start()
  t.after(() => events.stop())
  const agents = await documents.collection<{ agentId: string; sequence: number }>({ name: 'agents', indexes: [] })
  const stored = await agents.find({})
  const endMs = systemClock.monotonicMs() + WAIT_MAX_MS
  const waiting = new Set(stored.map(({ agentId }) => agentId))
  const gaps: string[] = []
  while (waiting.size > 0 && systemClock.monotonicMs() < endMs) {
    for (const { agentId, sequence } of stored) {
      const told = await events.journal.ofStream({ tenant: 'default', stream: `agent:default/${agentId}` }, 0, 10)
      if (told.length === sequence) waiting.delete(agentId)
      if (told.some((event, i) => event.sequence !== i + 1)) gaps.push(agentId)
    }
    await sleep(systemClock, 20)
  }
  while (!retired.every((agent) => effects.includes(agent)) && systemClock.monotonicMs() < endMs) await sleep(systemClock, 20)
  return { effects, waiting: [...waiting], gaps: waiting.size === 0 ? [] : gaps }
}
