import { printNow } from '../../testing/print-now.ts'
import { documentsIn } from './lmdb-fixture.ts'

/** Writes as fast as it can and says each write that was acknowledged on stdout, one JSON line each, until it is killed. */
const [directory, writers] = process.argv.slice(2)
if (directory === undefined) throw new TypeError('usage: crash-child DIRECTORY WRITERS')

export interface Acknowledged {
  id: string
  /** 0: deleted. */
  version: number
  n: number
}

const documents = documentsIn(directory)
await documents.start()
const things = await documents.collection<{ n: number; slot: string; padding: string }>({
  name: 'things',
  indexes: [
    { name: 'n', paths: ['n'] },
    { name: 'slot', paths: ['slot'], unique: true },
  ],
})

async function write(writer: number): Promise<void> {
  for (let n = 0; ; n++) {
    const id = `${writer}-${Math.floor(n / 10)}`
    const slot = `${writer}/${n}`
    if (n % 10 === 0) say(id, (await things.put(id, { n, slot, padding: 'p'.repeat((n * 37) % 3_000) })).version, n)
    else if (n % 10 === 9 && n % 20 > 10) {
      await things.delete(id)
      say(id, 0, n)
    } else {
      const result = await things.update(id, { $set: { n, slot } })
      if (result.status === 'written') say(id, result.document.version, n)
    }
  }
}

function say(id: string, version: number, n: number): void {
  printNow(`${JSON.stringify({ id, version, n } satisfies Acknowledged)}\n`)
}

await Promise.all(Array.from({ length: Number(writers) }, (_, writer) => write(writer)))
