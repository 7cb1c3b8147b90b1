import { Metrics } from '../../../kernel/metrics.ts'
import { silentLogger } from '../../../kernel/log.ts'
import { systemClock } from '../../../kernel/time.ts'
import { documentsOn } from '../../../storage/documents/testing/mongodb-fixture.ts'
import { documentsIn } from '../../../storage/documents/testing/lmdb-fixture.ts'
import { printNow } from '../../../storage/testing/print-now.ts'
import { CountingActions } from './counting-actions.ts'
import { proposalsOver } from './proposals-fixture.ts'

/** Approves a proposal in a process of its own, says where it is, and waits there to be killed. */
const [directory, id, hash, stopAt] = process.argv.slice(2)
if (directory === undefined || id === undefined || hash === undefined)
  throw new TypeError('usage: execution-child DIRECTORY|mongodb://HOST:PORT/DATABASE ID HASH before|after')

const documents = directory.startsWith('mongodb:') ? onServer(new URL(directory)) : documentsIn(directory, {}, new Metrics())
await documents.start()
const counting = new CountingActions(documents)
const wait = (): Promise<void> =>
  new Promise(() => {
    printNow('here\n')
    setInterval(() => undefined, 60_000)
  })
if (stopAt === 'after') counting.onChanged = wait
const { actions } = counting
const held = { ...actions['device.quarantine'], ...(stopAt === 'before' ? { execute: wait } : {}) }
const { proposals } = await proposalsOver({
  documents,
  actions: { ...actions, 'device.quarantine': held },
  clock: systemClock,
  log: silentLogger,
})
await proposals.approve({ kind: 'user', id: 'ana', tenant: 'default', roles: ['admin'] }, id, hash)

function onServer(url: URL): ReturnType<typeof documentsOn> {
  return documentsOn({ url: `${url.protocol}//${url.host}`, database: url.pathname.slice(1) })
}
