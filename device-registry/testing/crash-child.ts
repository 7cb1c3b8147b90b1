import { printNow } from '../../storage/testing/print-now.ts'
import { join } from 'node:path'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import { documentsIn } from '../../storage/documents/testing/lmdb-fixture.ts'
import { openTemporaryLog, topicSpec } from '../../storage/event-log/temporary-log.ts'
import { Registry } from '../registry.ts'

/** Registers devices and moves them along as fast as it can, saying each change that was acknowledged, until it is killed. */
const [directory, round] = process.argv.slice(2)
if (directory === undefined) throw new TypeError('usage: crash-child DIRECTORY ROUND')
const documents = documentsIn(join(directory, 'documents'))
await documents.start()
const { log: eventLog } = await openTemporaryLog({ directory: join(directory, 'log') })
await eventLog.ensureTopics([topicSpec(TOPICS.deviceEvents, 3)])
const registry = new Registry({ documents, eventLog, clock: systemClock, log: silentLogger })
await registry.start()

async function live(writer: number): Promise<void> {
  for (let n = 0; ; n++) {
    const id = `d-${round}-${writer}-${n}`
    await registry.ensureRegistered('default', id, undefined, 'system')
    await registry.markProvisioned('default', id, 'system')
    await registry.transition('default', id, n % 2 === 0 ? 'suspended' : 'active', 'system')
    printNow(`${id}\n`)
  }
}

await Promise.all(Array.from({ length: 6 }, (_, writer) => live(writer)))
