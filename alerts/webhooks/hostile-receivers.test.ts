import assert from 'node:assert/strict'
import { createServer } from 'node:https'
import { createServer as createTcpServer, type AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { TargetRefusedError } from '../../kernel/target-guard.ts'
import { every, systemClock } from '../../kernel/time.ts'
import { operator, until } from '../alerts-testing.ts'
import { deliveryIn, register, selfSigned, webhooksOptions, WebhookWorld } from './webhooks-testing.ts'

/* Receivers that are slow, endless, somebody else, or not where they seem to be. */

let world: WebhookWorld
beforeEach(async () => {
  world = await WebhookWorld.open()
})
afterEach(() => world.close())

describe('a hostile receiver', () => {
  it('follows no redirect', async () => {
    const webhooks = await world.start()
    const other = await world.receive()
    const receiver = await world.receive((response) => response.writeHead(307, { location: other.url }).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen()
    const delivery = await deliveryIn(webhooks, endpoint.id, 'pending')
    await until(
      'it is written down',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id)).items[0]?.attempts[0]?.status === 307,
    )
    assert.equal(delivery.endpointId, endpoint.id)
    assert.equal(other.received.length, 0)
  })

  it('reads no more of an endless response than it may', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { responseBytesMax: 2_000, responseBytesKept: 100 }))
    let closed = false
    const receiver = await world.receive((response) => {
      response.writeHead(200)
      const more = (): void => void (response.write('y'.repeat(1_000)) ? setImmediate(more) : response.once('drain', more))
      response.on('close', () => (closed = true))
      response.on('error', () => {})
      more()
    })
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen()
    const delivery = await deliveryIn(webhooks, endpoint.id, 'delivered')
    assert.equal(delivery.attempts[0]?.responseBody, 'y'.repeat(100))
    await until('the connection is closed', () => closed)
  })

  it('refuses a certificate that nobody vouches for, whatever the environment says', async () => {
    const before = process.env.NODE_TLS_REJECT_UNAUTHORIZED
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    const server = createServer(await selfSigned(), (_request, response) => response.end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const webhooks = await world.start()
    const { endpoint } = await register(webhooks, `https://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    await webhooks.service.ping(operator, endpoint.id)
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.match(parked.attempts[0]?.error ?? '', /self-signed/)
    if (before === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    else process.env.NODE_TLS_REJECT_UNAUTHORIZED = before
    await new Promise((resolve) => server.close(resolve))
  })

  it('gives up a try that takes too long, and says so', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { headersTimeoutMs: 100, totalTimeoutMs: 200 }))
    const hanging = await world.receive(() => {})
    const { endpoint } = await register(webhooks, hanging.url)
    await webhooks.service.ping(operator, endpoint.id)
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.equal(parked.attempts[0]?.status, null)
    assert.match(parked.attempts[0]?.error ?? '', /timeout|took longer/i)
  })

  it('gives up a receiver that answers drop by drop, in the head or in the body', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { headersTimeoutMs: 400, bodyTimeoutMs: 300, totalTimeoutMs: 500 }))
    let connections = 0
    const drops = createTcpServer((socket) => {
      const isHead = connections++ === 0
      if (!isHead) socket.write('HTTP/1.1 500 no\r\ncontent-length: 9999\r\n\r\n')
      const timer = every(
        systemClock,
        50,
        () => void socket.write(isHead ? 'H' : 'y'),
        () => undefined,
      )
      socket.on('close', () => timer.cancel()).on('error', () => timer.cancel())
      if (isHead) socket.write('HTTP/1.1 200 OK\r\nx-')
    })
    await new Promise<void>((resolve) => drops.listen(0, '127.0.0.1', resolve))
    const { endpoint } = await register(webhooks, `http://127.0.0.1:${(drops.address() as AddressInfo).port}/`)
    const startMs = systemClock.monotonicMs()
    for (const count of [1, 2]) {
      await webhooks.service.ping(operator, endpoint.id)
      await until(
        'it is given up',
        async () => (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'dead' })).items.length === count,
      )
    }
    assert.ok(systemClock.monotonicMs() - startMs < 5_000)
    const { items } = await webhooks.service.listDeliveries(operator, endpoint.id)
    assert.deepEqual(new Set(items.map(({ attempts }) => attempts[0]?.status)), new Set([500, null]))
    assert.ok(items.every(({ attempts }) => attempts[0]?.error !== null))
    await new Promise((resolve) => drops.close(resolve))
  })

  it('refuses a target that its name turns out to be, without a connection', async () => {
    const receiver = await world.receive()
    const port = new URL(receiver.url).port
    const webhooks = await world.start({
      ...webhooksOptions(world.engines, { allowPrivateTargets: false }),
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    })
    const { endpoint } = await register(webhooks, `http://innocent.example:${port}/`)
    await world.happen()
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.equal(parked.parkReason, 'target-refused')
    assert.match(parked.attempts[0]?.error ?? '', /127\.0\.0\.1 is not a public address/)
    assert.equal(receiver.received.length, 0)
    await assert.rejects(register(webhooks, receiver.url), TargetRefusedError)
  })

  it('resolves a name for every connection, and refuses it once it turns inward', async () => {
    const receiver = await world.receive((response) => response.writeHead(500, { connection: 'close' }).end())
    const port = new URL(receiver.url).port
    const answers = ['127.0.0.1', '169.254.169.254']
    const webhooks = await world.start({
      ...webhooksOptions(world.engines, { retryInitialMs: 100, retryMaxMs: 100 }),
      resolve: async () => [{ address: answers.shift() ?? '169.254.169.254', family: 4 }],
    })
    const { endpoint } = await register(webhooks, `http://rebinding.example:${port}/`)
    await world.happen()
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.deepEqual([parked.parkReason, receiver.received.length], ['target-refused', 1])
  })
})
