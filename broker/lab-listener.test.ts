import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { test, type TestContext } from 'node:test'
import { ConfigError } from '../kernel/errors.ts'
import { createLogger } from '../kernel/log.ts'
import { systemClock } from '../kernel/time.ts'
import { LabListener } from './lab-listener.ts'
import { brokerConfig, until } from './testing/broker-fixture.ts'
import { connack, connect, publish, subscribe } from './testing/raw-packets.ts'
import { TemporaryDocuments } from './testing/temporary-documents.ts'

async function open(t: TestContext, lab: object): Promise<{ listener: LabListener; lines: string[]; restart: () => Promise<LabListener> }> {
  const folder = await TemporaryDocuments.create()
  let documents = await folder.open()
  const lines: string[] = []
  const log = createLogger({ level: 'warn', destination: { write: (line: string) => lines.push(line) } })
  const create = (): LabListener => new LabListener({ config: brokerConfig({ lab }), clock: systemClock, log, documents })
  let listener = create()
  t.after(async () => {
    await listener.stop()
    await documents.stop()
    await folder.remove()
  })
  await listener.start()
  const restart = async (): Promise<LabListener> => {
    await listener.stop()
    await documents.stop()
    documents = await folder.open()
    listener = create()
    await listener.start()
    return listener
  }
  return { listener, lines, restart }
}

async function session(
  t: TestContext,
  port: number | undefined,
  id: string,
  clean = true,
): Promise<{ socket: Socket; received: () => Buffer; answer: Buffer }> {
  const socket = connectTcp(port ?? 0, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.write(connect(id, { clean }))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  const chunks: Buffer[] = []
  socket.on('data', (chunk) => chunks.push(chunk))
  return { socket, received: () => Buffer.concat(chunks), answer }
}

test('closed by default; open it warns loudly', async (t) => {
  const closed = await open(t, {})
  assert.equal(closed.listener.port, undefined)
  const opened = await open(t, { port: 0 })
  assert.ok(opened.listener.port)
  assert.match(opened.lines.join(''), /CONFORMANCE LISTENER OPEN/)
})

test('any other address is a configuration fault', async (t) => {
  for (const host of ['0.0.0.0', '::', 'localhost', '192.168.0.1']) {
    await assert.rejects(open(t, { port: 0, host }), (error) => error instanceof ConfigError && error.faults[0]?.allowed === '127.0.0.1')
  }
})

test('any topic for anyone, but the denied filter; offline queue, session and retained messages over a restart', async (t) => {
  const { listener, restart } = await open(t, { port: 0, denySubscribe: 'test/nosubscribe' })
  const one = await session(t, listener.port, 'one', false)
  assert.deepEqual(one.answer, connack(0))
  one.socket.write(
    subscribe(1, [
      ['a/#', 1],
      ['test/nosubscribe', 2],
      ['b', 2],
    ]),
  )
  await until('SUBACK', () => one.received().length === 7)
  assert.deepEqual([...one.received().subarray(4)], [1, 0x80, 2])
  one.socket.destroy()
  const two = await session(t, listener.port, 'two')
  two.socket.write(publish('a/1', 'queued at QoS 1', { qos: 2, messageId: 1 }))
  two.socket.write(publish('a/kept', 'kept', { qos: 1, messageId: 2, retain: true }))
  await until('PUBREC and PUBACK', () => two.received().length === 8)

  const again = await restart()
  const back = await session(t, again.port, 'one', false)
  assert.deepEqual(back.answer.subarray(0, 4), connack(0, true))
  await until('the queue', () => back.received().includes('kept') && back.received().includes('queued at QoS 1'))
  const other = await session(t, again.port, 'three')
  other.socket.write(subscribe(1, [['+/kept', 0]]))
  await until('the retained message', () => other.received().includes('kept'))
  // [MQTT-3.8.4-6]: granted QoS 0, so it comes with QoS 0, retained.
  assert.ok(other.received().includes(Buffer.from([0x31])))
})
