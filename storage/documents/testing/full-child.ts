import { StoreError } from '../../../kernel/errors.ts'
import { documentsIn } from './lmdb-fixture.ts'

/** Writes until the store is full (its process may not write larger files), then goes on reading and deleting; tells as JSON what it saw. */
const [directory] = process.argv.slice(2)
if (directory === undefined) throw new TypeError('usage: full-child DIRECTORY')
const documents = documentsIn(directory)
await documents.start()
const things = await documents.collection<{ n: number; text: string }>({ name: 'things', indexes: [{ name: 'n', paths: ['n'] }] })
let written = 0
let code = ''
let retryable = false
for (; code === '' && written < 10_000; written++) {
  try {
    await things.insert(`id-${written}`, { n: written, text: 'x'.repeat(20_000) })
  } catch (error) {
    if (!(error instanceof StoreError)) throw error
    code = error.code
    retryable = error.retryable
    break
  }
}
const readable = await things.count({ n: { $gte: 0 } })
const deleted = await things.deleteMany({ n: { $lt: 5 } })
const again = (await things.insert('again', { n: -1, text: 'small' })).status
await documents.stop()
process.stdout.write(JSON.stringify({ written, code, retryable, readable, deleted, again }))
