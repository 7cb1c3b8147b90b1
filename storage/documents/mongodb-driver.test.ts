import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { it, type TestContext } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Long, type Document } from 'mongodb'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { MongodbConnection } from './mongodb-connection.ts'
import { mongodbMetrics } from './mongodb-metrics.ts'
import { fakeServer, hello, type FakeServer } from './testing/mongodb-fake-server.ts'
import { mongodbConfig } from './testing/mongodb-fixture.ts'

/*
 * Sockets of which a process learns in one turn of its loop that they ended are destroyed in that order, and tell `close` in the opposite
 * one: what is begun meanwhile finds one that is destroyed and has not told so.
 */

const WIRE_6_0 = 17
const NOTHING_FOUND = { ok: 1, cursor: { id: Long.ZERO, ns: 'fleetpulse.things', firstBatch: [] } }

interface Connected {
  server: FakeServer
  find: () => Promise<Document[]>
}

/** An open connection whose driver looks at the server once, and then for a minute only where a request failed. Searches are answered so. */
async function connected(t: TestContext, answer: (server: FakeServer) => Document | null = () => NOTHING_FOUND): Promise<Connected> {
  let isOpen = false
  const server = await fakeServer(t, (command) => {
    if ('find' in command) return isOpen ? answer(server) : NOTHING_FOUND
    return 'update' in command ? { ok: 1, n: 1, nModified: 0 } : hello(WIRE_6_0)
  })
  const config = mongodbConfig({ url: `mongodb://${server.address}`, heartbeatMs: 60_000, attemptsMax: 1 })
  const basics = { clock: systemClock, random: systemRandom, log: silentLogger }
  const connection = new MongodbConnection({ config, ...basics, metrics: mongodbMetrics(new Metrics()) })
  await connection.open()
  t.after(() => connection.close())
  isOpen = true
  return { server, find: () => connection.request('find', () => connection.db.collection('things').find({}).toArray()) }
}

/** Both ends of a connection beside. */
async function pair(t: TestContext): Promise<{ here: Socket; there: Socket }> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const here = connect((server.address() as AddressInfo).port, '127.0.0.1').resume()
  const [there] = (await once(server, 'connection')) as [Socket]
  t.after(() => {
    for (const socket of [here, there]) socket.destroy()
    server.close()
  })
  return { here, there }
}

it('looks again at a server that ended the connection for looking and that of a request', { timeout: 20_000 }, async (t) => {
  let searches = 0
  const { find } = await connected(t, (server) => {
    if (++searches > 1) return NOTHING_FOUND
    server.endAll()
    return null
  })
  // Sooner after its last look the driver waits before it looks again: 500 ms, its minHeartbeatFrequencyMS.
  await sleep(systemClock, 600)
  assert.deepEqual(await find(), [])
  assert.equal(searches, 2)
})

it('asks again, on another connection, what it asked on one that had just ended', { timeout: 20_000 }, async (t) => {
  const { server, find } = await connected(t)
  const { here, there } = await pair(t)
  // A loop's turn runs what setImmediate was given before it tells of closed sockets.
  const answered = once(here, 'end')
    .then(() => setImmediate())
    .then(find)
  server.endAll()
  there.end()
  assert.deepEqual(await answered, [])
})
