import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { silentLogger } from '../kernel/log.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { LabListener } from './lab-listener.ts'
import { brokerConfig, closed, until } from './testing/broker-fixture.ts'
import { PlainClient } from './testing/plain-client.ts'
import { connect } from './testing/raw-packets.ts'
import { TemporaryDocuments } from './testing/temporary-documents.ts'

// What interoperability suites of MQTT 3.1.1 look at, scenario by scenario, on the conformance listener.

let folder: TemporaryDocuments
let documents: Awaited<ReturnType<TemporaryDocuments['open']>>
let lab: LabListener
let port: number

before(async () => {
  folder = await TemporaryDocuments.create()
  documents = await folder.open()
  const config = brokerConfig({ lab: { port: 0, denySubscribe: 'test/nosubscribe' } })
  lab = new LabListener({ config, clock: systemClock, log: silentLogger, documents })
  await lab.start()
  port = lab.port ?? 0
})
after(async () => {
  await lab.stop()
  await documents.stop()
  await folder.remove()
})

/** Time in which a message that must not come would have come. */
const QUIET_MS = 150

test('basic: messages of each QoS come back once; a second CONNECT and a wrong protocol name end the connection', async () => {
  const client = await PlainClient.connected(port, 'basic')
  assert.deepEqual(await client.subscribe({ 'basic/a': 2 }), [2])
  for (const qos of [0, 1, 2] as const) await client.publish('basic/a', `qos ${qos}`, qos)
  await until('three messages', () => client.texts.length === 3)
  assert.deepEqual(
    client.messages.map(({ qos }) => qos),
    [0, 1, 2],
  )
  client.socket.write(connect('basic'))
  await closed(client.socket)
  const wrong = await PlainClient.open(port)
  wrong.socket.write(Buffer.from('100e0002686a0402003c000462617369', 'hex'))
  await closed(wrong.socket)
})

test('retained messages come with their flag to new subscriptions, and empty payloads remove them', async () => {
  const client = await PlainClient.connected(port, 'retained')
  for (const qos of [0, 1, 2] as const) await client.publish(`retained/q${qos}`, `qos ${qos}`, qos, true)
  await client.settle()
  await client.subscribe({ 'retained/+': 2 })
  await until('three retained messages', () => client.messages.length === 3)
  assert.deepEqual(
    client.messages.map(({ retain }) => retain),
    [true, true, true],
  )
  client.disconnect()
  const cleaner = await PlainClient.connected(port, 'retained')
  for (const qos of [0, 1, 2] as const) await cleaner.publish(`retained/q${qos}`, '', qos, true)
  await cleaner.settle()
  await cleaner.subscribe({ 'retained/+': 2 })
  await sleep(systemClock, QUIET_MS)
  assert.deepEqual(cleaner.texts, [])
  cleaner.disconnect()
})

test('messages for an absent client wait for it', async () => {
  const client = await PlainClient.connected(port, 'offline', { clean: false })
  await client.subscribe({ 'offline/#': 2 })
  client.disconnect()
  await closed(client.socket)
  const sender = await PlainClient.connected(port, 'offline-sender')
  for (const qos of [0, 1, 2] as const) await sender.publish(`offline/${qos}`, `qos ${qos}`, qos)
  sender.disconnect()
  const back = await PlainClient.connected(port, 'offline', { clean: false })
  assert.equal((await back.wait('CONNACK', 'connack')).sessionPresent, true)
  await until('the queue', () => back.texts.length === 2)
  assert.deepEqual(back.texts, ['qos 1', 'qos 2'])
  back.disconnect()
})

test('a will is published once when the connection is lost, and never after DISCONNECT', async () => {
  const watcher = await PlainClient.connected(port, 'watcher')
  await watcher.subscribe({ 'wills/#': 2 })
  const lost = await PlainClient.connected(port, 'lost', { will: { topic: 'wills/lost', payload: 'lost' } })
  lost.socket.destroy()
  const orderly = await PlainClient.connected(port, 'orderly', { will: { topic: 'wills/orderly', payload: 'orderly' } })
  orderly.disconnect()
  await closed(orderly.socket)
  await until('the will', () => watcher.texts.length > 0)
  await sleep(systemClock, QUIET_MS)
  assert.deepEqual(watcher.texts, ['lost'])
  watcher.disconnect()
})

test('overlapping subscriptions: the highest QoS of them, whichever came first [MQTT-3.3.5-1]', async () => {
  for (const clean of [true, false])
    for (const filters of [
      { 'overlap/#': 2, 'overlap/+': 1 },
      { 'overlap/#': 1, 'overlap/+': 2 },
      { 'overlap/#': 0, 'overlap/+': 2 },
      { 'overlap/+': 0, 'overlap/c': 1 },
    ] as const) {
      const client = await PlainClient.connected(port, 'overlap', { clean })
      await client.subscribe(filters)
      await client.publish('overlap/c', 'x', 2)
      await until('a message', () => client.messages.length > 0)
      await sleep(systemClock, QUIET_MS)
      assert.equal(Math.max(...client.messages.map(({ qos }) => qos)), Math.max(...Object.values(filters)), JSON.stringify(filters))
      client.disconnect()
      await closed(client.socket)
    }
})

test('keep alive: a silent client is cut after one and a half of it, and its will published', async () => {
  const watcher = await PlainClient.connected(port, 'alive-watcher', { keepalive: 0 })
  await watcher.subscribe({ 'alive/#': 1 })
  const startedMs = systemClock.monotonicMs()
  const silent = await PlainClient.connected(port, 'silent', { keepalive: 1, will: { topic: 'alive/gone', payload: 'silence' } })
  await closed(silent.socket)
  const tookMs = systemClock.monotonicMs() - startedMs
  assert.ok(tookMs >= 1_400 && tookMs < 4_000, `${tookMs} ms`)
  await until('the will', () => watcher.texts.includes('silence'))
  watcher.disconnect()
})

test('what was not acknowledged is sent again, with the same id and DUP, on the next connection', async () => {
  const client = await PlainClient.connected(port, 'redeliver', { clean: false })
  await client.subscribe({ 'redeliver/#': 2 })
  client.acknowledges = false
  await client.publish('redeliver/1', 'one', 1)
  await client.publish('redeliver/2', 'two', 2)
  await until('both', () => client.messages.length === 2)
  const ids = client.messages.map(({ messageId }) => messageId)
  client.disconnect()
  await closed(client.socket)
  const back = await PlainClient.connected(port, 'redeliver', { clean: false })
  await until('both again', () => back.messages.length === 2)
  await sleep(systemClock, QUIET_MS)
  assert.deepEqual(
    back.messages.map(({ messageId, dup, payload }) => [messageId, dup, String(payload)]),
    [
      [ids[0], true, 'one'],
      [ids[1], true, 'two'],
    ],
  )
  back.disconnect()
})

test('an empty client id: refused with 2 for a session that is to stay, given one otherwise [MQTT-3.1.3-7] [MQTT-3.1.3-8]', async () => {
  const refused = await PlainClient.open(port)
  refused.socket.write(Buffer.from('100c00044d5154540400003c0000', 'hex'))
  assert.equal((await refused.wait('CONNACK', 'connack')).returnCode, 2)
  await closed(refused.socket)
  const given = await PlainClient.connected(port, '', { clean: true })
  assert.equal((await given.wait('CONNACK', 'connack')).returnCode, 0)
  given.disconnect()
})

test('a refused filter is answered 0x80', async () => {
  const client = await PlainClient.connected(port, 'refused')
  assert.deepEqual(await client.subscribe({ 'test/nosubscribe': 2 }), [0x80])
  client.disconnect()
})

test('filters that begin with a wildcard do not match topics that begin with $ [MQTT-4.7.2-1]', async () => {
  const client = await PlainClient.connected(port, 'dollar', { clean: false })
  await client.subscribe({ '+/dollar': 2, '#': 2 })
  await client.publish('$own/dollar', 'hidden', 1)
  await sleep(systemClock, QUIET_MS)
  assert.deepEqual(
    client.texts.filter((text) => text === 'hidden'),
    [],
  )
  client.disconnect()
  await closed(client.socket)
  const back = await PlainClient.connected(port, 'dollar', { clean: false })
  await sleep(systemClock, QUIET_MS)
  assert.deepEqual(back.texts, [])
  back.disconnect()
})

test('a second client with the same id closes the first and takes its session [MQTT-3.1.4-2]', async () => {
  const first = await PlainClient.connected(port, 'takeover', { clean: false })
  await first.subscribe({ 'takeover/#': 1 })
  const second = await PlainClient.connected(port, 'takeover', { clean: false })
  await closed(first.socket)
  assert.equal((await second.wait('CONNACK', 'connack')).sessionPresent, true)
  await second.publish('takeover/x', 'still subscribed', 1)
  await until('the message', () => second.texts.includes('still subscribed'))
  second.disconnect()
  await closed(second.socket)
  const clean = await PlainClient.connected(port, 'takeover', { clean: true })
  assert.equal((await clean.wait('CONNACK', 'connack')).sessionPresent, false)
  clean.disconnect()
})

test('delivery is never above the granted QoS [MQTT-3.8.4-6]', async () => {
  const client = await PlainClient.connected(port, 'granted', { clean: false })
  await client.subscribe({ 'granted/+': 1 })
  await client.publish('granted/x', 'live', 2)
  await until('the message', () => client.texts.includes('live'))
  client.disconnect()
  await closed(client.socket)
  const sender = await PlainClient.connected(port, 'granted-sender')
  await sender.publish('granted/x', 'queued', 2)
  sender.disconnect()
  const back = await PlainClient.connected(port, 'granted', { clean: false })
  await until('the queued message', () => back.texts.includes('queued'))
  assert.deepEqual(
    [...client.messages, ...back.messages].map(({ qos }) => qos),
    [1, 1],
  )
  back.disconnect()
})
