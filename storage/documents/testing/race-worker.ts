import { parentPort, workerData } from 'node:worker_threads'
import { documentsIn } from './lmdb-fixture.ts'

/** What each of the racing threads is told. */
export interface Race {
  directory: string
  thread: number
  inserts: number
  increments: number
  /** Shared; every thread adds one and waits until all have, so that they begin together. */
  gate: Int32Array
  threads: number
}

export interface RaceResult {
  inserted: number
  incremented: number
  /** Compare-and-set attempts that another writer had overtaken. */
  overtaken: number
}

const race = workerData as Race
const documents = documentsIn(race.directory)
await documents.start()
const slots = await documents.collection<{ key: string; thread: number }>({
  name: 'slots',
  indexes: [{ name: 'key', paths: ['key'], unique: true }],
})
const counters = await documents.collection<{ n: number }>({ name: 'counters', indexes: [{ name: 'n', paths: ['n'] }] })
const result: RaceResult = { inserted: 0, incremented: 0, overtaken: 0 }

async function insertOnce(number: number): Promise<void> {
  const answer = await slots.insert(`${race.thread}-${number}`, { key: 'the one', thread: race.thread })
  if (answer.status === 'written') result.inserted++
}

async function incrementOnce(): Promise<void> {
  for (;;) {
    const counter = await counters.get('c')
    if (counter === null) throw new TypeError('the counter is gone')
    const answer = await counters.replace('c', counter.version, { n: counter.n + 1 })
    if (answer.status === 'written') break
    result.overtaken++
  }
  result.incremented++
}

Atomics.add(race.gate, 0, 1)
Atomics.notify(race.gate, 0)
while (Atomics.load(race.gate, 0) < race.threads) Atomics.wait(race.gate, 0, Atomics.load(race.gate, 0), 1_000)
await Promise.all([
  ...Array.from({ length: race.inserts }, (_, number) => insertOnce(number)),
  ...Array.from({ length: race.increments }, () => incrementOnce()),
])
await documents.stop()
parentPort?.postMessage(result)
