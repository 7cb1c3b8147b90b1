import { join } from 'node:path'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import { documentsIn } from '../../storage/documents/testing/lmdb-fixture.ts'
import { openTemporaryLog } from '../../storage/event-log/temporary-log.ts'
import { printNow } from '../../storage/testing/print-now.ts'
import { BusKey } from '../bus/bus-key.ts'
import { Roster } from '../roster/roster.ts'
import { agentsConfig } from './agents-fixture.ts'

/** Introduces and retires agents in the folder given, several at a time, until it is killed; prints each that is retired. */
const [directory = '', name] = process.argv.slice(2)
const documents = documentsIn(join(directory, 'documents'))
await documents.start()
const { log: eventLog } = await openTemporaryLog({ directory: join(directory, 'log') })
const common = { documents, eventLog, clock: systemClock, log: silentLogger, config: agentsConfig() }
const key = new BusKey(common)
await key.start()
const roster = new Roster({ ...common, key })
await roster.start()

async function comeAndGo(lane: number): Promise<never> {
  for (let i = 0; ; i++) {
    const agentId = `${name}-${lane}-${i}`
    await roster.introduce('default', { agentId, role: 'historian', name: agentId, bio: '' })
    await roster.retire('default', agentId)
    printNow(`${agentId}\n`)
  }
}
await Promise.all([0, 1, 2].map(comeAndGo))
