import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { integerBetween, seededRandom } from '../../kernel/random.ts'
import type { Acknowledged } from './testing/crash-child.ts'
import { assertIndexesAgree } from './testing/index-agreement.ts'
import { documentsIn, temporaryFolder } from './testing/lmdb-fixture.ts'

const ROUNDS = 4
const WRITERS = 8

/** Lets a child write until it has acknowledged `count` writes, then kills it; answers all it had acknowledged, in order. */
async function writeUntilKilled(directory: string, count: number): Promise<Acknowledged[]> {
  const program = fileURLToPath(new URL('./testing/crash-child.js', import.meta.url))
  const child = spawn(process.execPath, [program, directory, String(WRITERS)], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const acknowledged: Acknowledged[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(JSON.parse(line) as Acknowledged)
    if (acknowledged.length === count) child.kill('SIGKILL')
  }
  const [, signal] = (await exited) as [number | null, string | null]
  assert.equal(signal, 'SIGKILL')
  return acknowledged
}

it('keeps every acknowledged write through kill -9, and indexes that agree with the documents', async (t) => {
  const directory = join(await temporaryFolder(t), 'store')
  const seed = Number(process.env.TEST_SEED ?? 20_251_121)
  t.diagnostic(`seed ${seed} (TEST_SEED)`)
  const random = seededRandom(seed)
  for (let round = 1; round <= ROUNDS; round++) {
    const acknowledged = await writeUntilKilled(directory, integerBetween(random, 100, 1_500))
    const last = new Map(acknowledged.map((write) => [write.id, write]))
    const count = await assertIndexesAgree(directory, 'things')
    t.diagnostic(`round ${round}: ${acknowledged.length} acknowledged, ${count} documents`)
    const documents = documentsIn(directory)
    await documents.start()
    try {
      const things = await documents.collection<{ n: number; slot: string }>({ name: 'things', indexes: [] })
      for (const { id, version, n } of last.values()) {
        const found = await things.get(id)
        // The write after the last acknowledged one may have been durable and not yet said.
        if (version === 0) assert.equal(found, null, `${id} was deleted`)
        else if (found === null) assert.ok(n % 10 === 8, `${id} is lost`)
        else
          assert.ok(
            found.version >= version && found.n >= n && found.version <= version + 1,
            `${id} is at ${found.version}, acknowledged ${version}`,
          )
      }
      // The next round begins anew.
      await things.deleteMany({})
      assert.equal(await things.count({}), 0)
    } finally {
      await documents.stop()
    }
  }
})
