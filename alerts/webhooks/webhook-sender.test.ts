import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, describe, it } from 'node:test'
import { TargetGuard, type ResolveName } from '../../kernel/target-guard.ts'
import { every, systemClock } from '../../kernel/time.ts'
import { until } from '../alerts-testing.ts'
import type { WebhooksConfig } from './config.ts'
import { WebhookSender } from './webhook-sender.ts'
import { webhooksConfig } from './webhooks-testing.ts'

/* One try and each of its bounds: which of them ended it is read from what it says, so no clock of the test decides. */

const LONG_MS = 60_000
const PATIENT = { connectTimeoutMs: LONG_MS, headersTimeoutMs: LONG_MS, bodyTimeoutMs: LONG_MS, totalTimeoutMs: 300_000 }

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

function sender(changes: Partial<WebhooksConfig>, resolve?: ResolveName): WebhookSender {
  const config = webhooksConfig({ allowHttp: true, allowPrivateTargets: true, ...PATIENT, ...changes })
  const guard = new TargetGuard({ rules: config, ...(resolve === undefined ? {} : { resolve }) })
  const made = new WebhookSender({ guard, clock: systemClock, config })
  closing.unshift(() => made.close())
  return made
}

async function portOf(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closing.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return (server.address() as AddressInfo).port
}

const to = (url: string, signal = new AbortController().signal): Parameters<WebhookSender['send']>[0] => ({
  ...{ url, body: '{}', headers: {}, signal },
})

describe('webhook sender', () => {
  it('gives up a connection that never comes in the time of the whole try, and sends nothing when it comes after all', async () => {
    let [connections, requests] = [0, 0]
    const server = createHttpServer((_request, response) => {
      requests++
      response.writeHead(204).end()
    })
    server.on('connection', () => connections++)
    const port = await portOf(server)
    let answer: (addresses: { address: string; family: number }[]) => void = () => undefined
    const resolved = new Promise<{ address: string; family: number }[]>((resolve) => (answer = resolve))
    const slow = sender({ totalTimeoutMs: 200, headersTimeoutMs: 100 }, () => resolved)
    const attempt = await slow.send(to(`http://slow.example:${port}/`))
    assert.deepEqual([attempt.status, attempt.error], [null, 'the try took longer than 200 ms'])
    answer([{ address: '127.0.0.1', family: 4 }])
    await until('the connection comes', () => connections > 0)
    const next = await sender({}).send(to(`http://127.0.0.1:${port}/`))
    assert.deepEqual([next.status, requests], [204, 1], 'only the second try was sent')
  })

  it('gives up a connection that never comes when it is stopped', async () => {
    let asked = false
    const slow = sender({}, () => {
      asked = true
      return new Promise(() => undefined)
    })
    const stop = new AbortController()
    const sent = slow.send(to('http://slow.example/', stop.signal))
    await until('the name is asked for', () => asked)
    stop.abort()
    assert.deepEqual([(await sent).status, (await sent).error], [null, 'stopped'])
  })

  it('bounds the handshake, the head and the pauses of the body, each by itself', async () => {
    const silent = await portOf(createServer())
    const handshake = await sender({ connectTimeoutMs: 100 }).send(to(`https://127.0.0.1:${silent}/`))
    assert.deepEqual([handshake.status, /Connect Timeout/.test(handshake.error ?? '')], [null, true], handshake.error ?? '')
    const head = await sender({ headersTimeoutMs: 100 }).send(to(`http://127.0.0.1:${silent}/`))
    assert.deepEqual([head.status, /Headers Timeout/.test(head.error ?? '')], [null, true], head.error ?? '')
    const pausing = await portOf(createServer((socket) => socket.write('HTTP/1.1 500 no\r\ncontent-length: 9\r\n\r\nbut')))
    const body = await sender({ bodyTimeoutMs: 100 }).send(to(`http://127.0.0.1:${pausing}/`))
    assert.deepEqual([body.status, /Body Timeout/.test(body.error ?? '')], [500, true], body.error ?? '')
  })

  it('bounds a body that comes drop by drop and never pauses', async () => {
    const dropping = await portOf(
      createServer((socket) => {
        socket.write('HTTP/1.1 500 no\r\n\r\n')
        const timer = every(
          systemClock,
          20,
          () => void socket.write('y'),
          () => undefined,
        )
        socket.on('close', () => timer.cancel())
      }),
    )
    const attempt = await sender({ totalTimeoutMs: 300, headersTimeoutMs: 100 }).send(to(`http://127.0.0.1:${dropping}/`))
    assert.deepEqual([attempt.status, attempt.error], [500, 'the try took longer than 300 ms'])
  })

  it('bounds a head that never ends', async () => {
    const endless = await portOf(
      createServer((socket) => {
        socket.write('HTTP/1.1 200 OK\r\n')
        const more = (): void => void (socket.write(`x-more: ${'y'.repeat(1_000)}\r\n`) ? setImmediate(more) : socket.once('drain', more))
        socket.on('close', () => socket.removeAllListeners('drain'))
        more()
      }),
    )
    const attempt = await sender({}).send(to(`http://127.0.0.1:${endless}/`))
    assert.deepEqual([attempt.status, /Headers Overflow/.test(attempt.error ?? '')], [null, true], attempt.error ?? '')
  })

  it('checks an address without a name at every try: what was allowed when the endpoint was made may not be now', async () => {
    let connections = 0
    const port = await portOf(createServer(() => connections++))
    const strict = sender({ allowPrivateTargets: false })
    for (const host of ['127.0.0.1', '2130706433', '[::ffff:7f00:1]', '[::1]', '169.254.169.254']) {
      const attempt = await strict.send(to(`http://${host}:${port}/`))
      assert.deepEqual([attempt.refused, attempt.status, connections], [true, null, 0], host)
    }
  })

  it('connects to the address that was checked, though the name answers another one the next time', async () => {
    let there = 0
    const port = await portOf(
      createHttpServer((_request, response) => {
        there++
        response.writeHead(204, { connection: 'close' }).end()
      }),
    )
    let asked = 0
    // 127.0.0.2 has no listener: a second question before the connection would fail it.
    const turning = sender({}, async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }])
    const attempt = await turning.send(to(`http://turning.example:${port}/`))
    assert.deepEqual([attempt.status, attempt.error, there, asked], [204, null, 1, 1])
  })
})
