import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { TOPICS } from '../../contracts/topics.ts'
import { EnvironmentError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { seededRandom } from '../../kernel/random.ts'
import { nextTurn, VirtualClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { agentsConfig, agentsLog, readAll } from '../testing/agents-fixture.ts'
import { BusKey } from './bus-key.ts'
import { tell, type Told } from './outbox.ts'
import { ToldStore } from './told-store.ts'

const TENANT = 'default'

interface Counted extends Told {
  count: number
}

/** A store whose appends to the log wait for, or fail by, what `before` does. */
async function storeOver(t: TestContext, before: () => Promise<void>) {
  const documents = await lmdbDocuments(t)
  const eventLog = await agentsLog(t)
  const clock = new VirtualClock()
  const key = new BusKey({ documents })
  await key.start()
  const append: EventLog['append'] = async (topic, messages) => {
    await before()
    return eventLog.append(topic, messages)
  }
  const store = new ToldStore<Counted>({
    ...{ documents, eventLog: { append }, key, clock, log: silentLogger, config: agentsConfig() },
    ...{ collection: { name: 'counted', indexes: [{ name: 'unpublished', paths: ['unpublishedSince'] }] }, noun: 'counted' },
  })
  await store.start()
  t.after(() => store.stop())
  return { store, eventLog, clock }
}

function counted(id: string): Counted {
  return { id, tenant: TENANT, count: 0, correlationId: 'c', sequence: 0, outbox: [], unpublishedSince: null }
}

/** One more, said so. */
const more = (document: Counted): Counted =>
  tell({ ...document, count: document.count + 1 }, 'FloorReleased', { chatId: document.id, agentId: 'agent:a', floorEpoch: 1 }, 0)

async function sequencesOf(eventLog: EventLog, id: string): Promise<number[]> {
  const records = await readAll(eventLog, TOPICS.chatEvents)
  return records.filter(({ headers }) => headers.ce_partitionkey === id).map(({ headers }) => Number(headers.ce_sequence))
}

describe('what is told', () => {
  it('holds up nobody: the next change is made while the log still takes the last one, and all is told once, in order', async (t) => {
    let open = (): void => undefined
    const gate = new Promise<void>((resolve) => (open = resolve))
    const { store, eventLog } = await storeOver(t, () => gate)
    const heard: number[] = []
    store.onChanged(({ count }) => void heard.push(count))
    const inserted = store.insert('a', counted('a'))
    const of = { id: 'a', tenant: TENANT }
    const told: Promise<void>[] = []
    for (let n = 1; n <= 5; n++) {
      const changed = await store.changing(of, more)
      assert.equal(changed.stored.count, n)
      told.push(changed.told)
    }
    assert.deepEqual(heard, [0, 1, 2, 3, 4, 5], 'who listens hears of what is durable')
    const waits = store.change(of, more)
    let isTold = false
    void waits.then(() => (isTold = true))
    while ((await store.collection.get('a'))?.count !== 6) await nextTurn()
    await nextTurn()
    assert.equal(isTold, false, '`change` waits until it is told')
    open()
    await Promise.all([inserted, ...told, waits])
    assert.deepEqual(await sequencesOf(eventLog, 'a'), [1, 2, 3, 4, 5, 6])
  })

  it('holds up nobody who changes a document while it is told again to a log that is away', { timeout: 60_000 }, async (t) => {
    let open = (): void => undefined
    let gate: Promise<void> | undefined = Promise.reject(new EnvironmentError('LOG_AWAY', 'the log is away'))
    gate.catch(() => undefined)
    let asked = 0
    const { store, eventLog, clock } = await storeOver(t, async () => {
      asked++
      await gate
    })
    const of = { id: 'a', tenant: TENANT }
    await store.insert('a', counted('a'))
    await store.change(of, more)
    gate = new Promise<void>((resolve) => (open = resolve))
    await clock.advance(agentsConfig().republishAfterMs + 1)
    const before = asked
    const again = store.republish()
    while (asked === before) await nextTurn()
    const { stored, told } = await store.changing(of, more)
    assert.equal(stored.count, 2, 'while the log hangs')
    open()
    await Promise.all([again, told])
    assert.deepEqual(await sequencesOf(eventLog, 'a'), [1, 2])
  })

  it('comes in order and without gaps, and once where the log never failed, however changes and tellings overlap', async (t) => {
    for (const seed of [1, 2, 3]) {
      const random = seededRandom(seed)
      let failing = 0
      const { store, eventLog, clock } = await storeOver(t, async () => {
        for (let turns = Math.floor(random.next() * 10); turns > 0; turns--) await nextTurn()
        if (random.next() >= failing) return
        throw new EnvironmentError('LOG_AWAY', 'the log is away')
      })
      const ids = ['a', 'b', 'c']
      for (const id of ids) await store.insert(id, counted(id))
      const changes = async (): Promise<void> => {
        await Promise.all(
          Array.from({ length: 60 }, async (_, n) => {
            const of = { id: ids[n % ids.length] as string, tenant: TENANT }
            if (random.next() < 0.2) await store.change(of, (known) => known)
            else if (random.next() < 0.5) await store.change(of, more)
            else await store.changing(of, more)
            if (random.next() < 0.1) await store.republish()
          }),
        )
        // A change that changes nothing resolves when all of before is told.
        for (const id of ids) await store.change({ id, tenant: TENANT }, (known) => known)
      }
      await changes()
      for (const id of ids) {
        const { sequence } = (await store.collection.get(id)) as Counted
        assert.deepEqual(
          await sequencesOf(eventLog, id),
          Array.from({ length: sequence }, (_, n) => n + 1),
          `seed ${seed}`,
        )
      }
      failing = 0.3
      await changes()
      failing = 0
      await clock.advance(agentsConfig().republishAfterMs + 1)
      await store.republish()
      for (const id of ids) {
        const { sequence, outbox, unpublishedSince } = (await store.collection.get(id)) as Counted
        const sequences = await sequencesOf(eventLog, id)
        assert.deepEqual(
          [...new Set(sequences)],
          Array.from({ length: sequence }, (_, n) => n + 1),
          `seed ${seed}: in order, no gap`,
        )
        assert.deepEqual([outbox, unpublishedSince], [[], null], 'what is told waits no longer')
      }
    }
  })
})
