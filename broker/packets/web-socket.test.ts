import { Aedes } from 'aedes'
import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { it } from 'node:test'
import { createWebSocketStream, WebSocket, WebSocketServer } from 'ws'
import { systemClock } from '../../kernel/time.ts'
import { DeadlineWheel } from './deadline-wheel.ts'
import { AEDES_OPTIONS_BEHIND_PACKET_CHECK, StrictConnection } from './strict-connection.ts'
import { defaultLimits } from './testing/default-limits.ts'
import { acknowledge, connack, connect, PINGREQ_BYTES, PINGRESP_BYTES, publish } from './testing/wire.ts'
import { until } from './testing/wire-client.ts'

it('checks what comes through a WebSocket, whatever its messages hold [MQTT-6.0.0-2]', async () => {
  const aedes = await Aedes.createBroker(AEDES_OPTIONS_BEHIND_PACKET_CHECK)
  const deadlines = new DeadlineWheel(systemClock)
  const clauses: string[] = []
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'mqtt' })
  server.on('connection', (webSocket) => {
    const onViolation = (violation: { clause: string }): void => void clauses.push(violation.clause)
    aedes.handle(new StrictConnection({ socket: createWebSocketStream(webSocket), limits: defaultLimits(), deadlines, onViolation }))
  })
  try {
    await new Promise((resolve) => server.once('listening', resolve))
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, 'mqtt')
    let received = Buffer.alloc(0)
    let isClosed = false
    client.on('message', (data: Buffer) => (received = Buffer.concat([received, data])))
    client.on('close', () => (isClosed = true))
    await new Promise((resolve) => client.once('open', resolve))
    for (const byte of connect()) client.send(Buffer.from([byte]))
    client.send(Buffer.concat([PINGREQ_BYTES, publish('t', 'x', { qos: 1, id: 3 }), publish('t', 'x', { qos: 3 })]))
    await until('the connection is closed', () => isClosed)
    assert.deepEqual(received, Buffer.concat([connack(), PINGRESP_BYTES, acknowledge(0x40, 3)]))
    assert.deepEqual(clauses, ['MQTT-3.3.1-4'])
  } finally {
    await new Promise<void>((resolve) => aedes.close(resolve))
    for (const webSocket of server.clients) webSocket.terminate()
    await new Promise((resolve) => server.close(resolve))
    deadlines.stop()
  }
})
