import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import { openTemporaryLog, temporaryFolder } from './temporary-log.ts'

const ROUNDS = 6
const SEED = process.env['TEST_SEED'] ?? 'kill-9'

test('after kill -9 at any moment every acknowledged message is there once and in order', async (t) => {
  t.diagnostic(`seed ${SEED}`)
  const random = seededRandom(SEED)
  const directory = await temporaryFolder()
  t.after(() => rm(directory, { recursive: true, force: true }))
  const acknowledged: number[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const first = round * 1_000_000
    acknowledged.push(...(await runAndKill(directory, first, integerBetween(random, 5, 250))))
    await assertKept(directory, acknowledged)
  }
  t.diagnostic(`${acknowledged.length} acknowledged in ${ROUNDS} rounds`)
  assert.ok(acknowledged.length > 100, 'hardly anything was acknowledged before the kill')
})

/** Kills the child so many ms after its first acknowledgement; answers the numbers it printed. */
async function runAndKill(directory: string, first: number, killAfterMs: number): Promise<number[]> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./crash-child.js', import.meta.url)), directory, String(first)])
  let output = ''
  let errors = ''
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const exited = once(child, 'close')
  await new Promise<void>((resolve) => {
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString()
      if (output.includes('\n', 'ready\n'.length)) resolve()
    })
    void exited.then(() => resolve())
  })
  await wait(killAfterMs)
  child.kill('SIGKILL')
  const [, signal] = (await exited) as [number | null, string | null]
  assert.equal(signal, 'SIGKILL', errors)
  const lines = output.split('\n').slice(1, -1)
  return lines.map(Number)
}

async function assertKept(directory: string, acknowledged: readonly number[]): Promise<void> {
  const { log, close } = await openTemporaryLog({ directory })
  const numbers = new Map<string, number[]>()
  for (const topic of ['numbers', 'outputs']) {
    for (const [partition, { first, next }] of await log.bounds(topic)) {
      const records = await log.read(topic, partition, 0, 10_000_000)
      assert.equal(records.length, next - first)
      records.forEach((record, i) => assert.equal(record.offset, i))
      for (const { key, value } of records) {
        const order = `${topic} ${key}`
        numbers.set(order, [...(numbers.get(order) ?? []), Number(Buffer.from(value).toString())])
      }
    }
  }
  for (const [order, list] of numbers)
    for (let i = 1; i < list.length; i++) assert.ok(list[i]! > list[i - 1]!, `${order}: ${list[i - 1]} before ${list[i]}`)
  const kept = new Set([...numbers.values()].flat())
  assert.deepEqual(
    acknowledged.filter((number) => !kept.has(number)),
    [],
    'acknowledged and lost',
  )
  const consumer = await log.consume({ group: 'crash', topic: 'input' })
  const committed = (await consumer.committed()).get(0)
  assert.equal(committed, numbers.get('outputs k')?.at(-1), 'the committed offset and the last output belong together')
  await consumer.close()
  await close()
}
