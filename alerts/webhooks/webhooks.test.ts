import assert from 'node:assert/strict'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { ConflictError } from '../../kernel/errors.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { operator, readAll, T0, until } from '../alerts-testing.ts'
import { TargetRefusedError } from '../../kernel/target-guard.ts'
import type { DeliveryDocument } from './webhook-documents.ts'
import { change, changeMessage, deliveryIn, register, selfSigned, webhooksOptions, WebhookWorld } from './webhooks-testing.ts'

let world: WebhookWorld
beforeEach(async () => {
  world = await WebhookWorld.open()
})
afterEach(() => world.close())

describe('webhooks', () => {
  it('delivers a change, signed, with correlation id and explanation, and logs the try', async () => {
    const webhooks = await world.start()
    const receiver = await world.receive((response) => response.writeHead(202).end('thanks'))
    const { endpoint, secret } = await register(webhooks, receiver.url)
    const opened = change()
    await world.happen(opened)
    const delivery = await deliveryIn(webhooks, endpoint.id, 'delivered')
    const [request] = receiver.received
    const payload = new Webhook(secret).verify(request?.body ?? '', request?.headers ?? {}) as {
      type: string
      timestamp: string
      data: { alert: Record<string, unknown> }
    }
    assert.equal(payload.type, 'alert.opened')
    assert.equal(payload.timestamp, new Date(T0).toISOString())
    assert.deepEqual(payload.data.alert.explanation, { text: 'too warm' })
    assert.equal(payload.data.alert.correlationId, 'c-1')
    assert.equal(request?.headers['webhook-id'], delivery.id)
    assert.equal(request?.headers['content-type'], 'application/json')
    assert.deepEqual([delivery.attemptsMade, delivery.attempts[0]?.status, delivery.attempts[0]?.responseBody], [1, 202, 'thanks'])
  })

  it('makes one delivery of a change however often it comes', async () => {
    const webhooks = await world.start()
    const receiver = await world.receive()
    const { endpoint } = await register(webhooks, receiver.url)
    const opened = change()
    await world.engines.eventLog.append('alerts', [opened, opened, change(), opened].map(changeMessage))
    await until(
      'both are delivered',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'delivered' })).items.length === 2,
    )
    assert.equal(receiver.received.length, 2)
  })

  it('sends only what an endpoint wants, and nothing of a silenced alert but that it resolved', async () => {
    const webhooks = await world.start()
    const receiver = await world.receive()
    const { endpoint } = await register(webhooks, receiver.url)
    const second = await register(webhooks, receiver.url, ['alert.repeated'])
    const silenced = { silencedUntil: T0 + 60_000 }
    await world.engines.eventLog.append(
      'alerts',
      [change({ change: 'repeated' }), change({ change: 'acknowledged' }, silenced), change({ change: 'resolved' }, silenced)].map(
        changeMessage,
      ),
    )
    await world.engines.eventLog.append('alerts', [changeMessage(change({}, { tenant: 'other' })), changeMessage(change())])
    await until('the last one is delivered', () => receiver.received.length === 3)
    const types = async (id: string): Promise<string[]> =>
      (await webhooks.service.listDeliveries(operator, id)).items.map((each) => each.type).toSorted()
    assert.deepEqual(await types(endpoint.id), ['alert.opened', 'alert.resolved'])
    assert.deepEqual(await types(second.endpoint.id), ['alert.repeated'])
  })

  it('retries with growing waits under the same id, through a restart, and parks after the last try; a replay delivers', async () => {
    const clock = new VirtualClock(T0)
    const options = webhooksOptions(
      world.engines,
      { attemptsMax: 4, retryInitialMs: 1_000, retryFactor: 3, retryMaxMs: 5_000, retryJitter: 0 },
      clock,
    )
    let webhooks = await world.start(options)
    const receiver = await world.receive((response) => response.writeHead(500).end('x'.repeat(5_000)))
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen()
    const tries = async (wanted: number): Promise<DeliveryDocument> =>
      until(`try ${wanted} is written down`, async () => {
        const { items } = await webhooks.service.listDeliveries(operator, endpoint.id)
        return items[0]?.attemptsMade === wanted ? items[0] : null
      })
    assert.equal((await tries(1)).nextAttemptAt, T0 + 1_000)
    await clock.advance(999)
    assert.equal(receiver.received.length, 1)
    await clock.advance(1)
    assert.equal((await tries(2)).nextAttemptAt, T0 + 1_000 + 3_000)
    await webhooks.stop()
    webhooks = await world.start({ ...webhooksOptions(world.engines, {}, clock), config: options.config })
    await clock.advance(2_999)
    assert.equal(receiver.received.length, 2)
    await clock.advance(1)
    assert.equal((await tries(3)).nextAttemptAt, T0 + 4_000 + 5_000)
    await clock.advance(5_000)
    const parked = await tries(4)
    assert.deepEqual([parked.state, parked.parkReason, parked.nextAttemptAt], ['dead', 'attempts-exhausted', null])
    assert.equal(parked.attempts.length, 4)
    assert.equal(parked.attempts[0]?.responseBody.length, 1_024)
    assert.equal(new Set(receiver.received.map((each) => each.headers['webhook-id'])).size, 1)

    receiver.answer = (response) => response.writeHead(200).end()
    await webhooks.service.replayDelivery(operator, endpoint.id, parked.id)
    const delivered = await deliveryIn(webhooks, endpoint.id, 'delivered')
    assert.equal(delivered.id, parked.id)
    assert.equal(receiver.received.at(-1)?.headers['webhook-id'], parked.id)
    await webhooks.service.replayDelivery(operator, endpoint.id, parked.id)
    await until('it came again', () => receiver.received.length === 6)
  })

  it('waits as long as Retry-After says, within the longest wait', async () => {
    const clock = new VirtualClock(T0)
    const webhooks = await world.start(webhooksOptions(world.engines, { retryMaxMs: 60_000 }, clock))
    const receiver = await world.receive((response) => response.writeHead(429, { 'retry-after': '40' }).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen()
    await until('the try is written down', async () => {
      const { items } = await webhooks.service.listDeliveries(operator, endpoint.id)
      return items[0]?.attemptsMade === 1 && items[0].nextAttemptAt === T0 + 40_000
    })
  })

  it('disables an endpoint that answers 410', async () => {
    const webhooks = await world.start()
    const receiver = await world.receive((response) => response.writeHead(410).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen()
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.equal(parked.parkReason, 'endpoint-gone')
    const view = await webhooks.service.get(operator, endpoint.id)
    assert.deepEqual([view.enabled, view.disabledReason], [false, 'gone'])
    await assert.rejects(webhooks.service.replayDelivery(operator, endpoint.id, parked.id), ConflictError)
    const enabled = await webhooks.service.update(operator, endpoint.id, { enabled: true })
    assert.equal(enabled.disabledReason, null)
  })

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

  it('is not held up by an endpoint that hangs, on the same host even', async () => {
    const webhooks = await world.start(
      webhooksOptions(world.engines, { headersTimeoutMs: 60_000, totalTimeoutMs: 60_000, inFlightMax: 16, failingInFlightMax: 2 }),
    )
    const host = await world.receive((response, request) => {
      if (request.path === '/works') response.writeHead(204).end()
    })
    const arrived = (path: string): number => host.received.filter((request) => request.path === path).length
    await register(webhooks, new URL('/hangs', host.url).href)
    const { endpoint } = await register(webhooks, new URL('/works', host.url).href)
    await world.happen(...Array.from({ length: 50 }, () => change()))
    await until('the working one has them all', () => arrived('/works') === 50)
    assert.ok(arrived('/hangs') <= 8)
    await until(
      'all is written down',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'pending' })).items.length === 0,
    )
  })

  it('gives an endpoint that fails one slot at a time, until it works again', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { retryInitialMs: 100, retryMaxMs: 100 }))
    const receiver = await world.receive((response) => response.writeHead(503).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen(...Array.from({ length: 20 }, () => change()))
    await until('it failed', () => receiver.received.length > 20)
    let [now, most] = [0, 0]
    receiver.answer = (response) => {
      most = Math.max(most, ++now)
      response.on('close', () => now--)
      setImmediate(() => response.writeHead(503).end())
    }
    await until('it failed more', () => receiver.received.length > 60)
    assert.ok(most <= 2, `${most} at a time`)
    receiver.answer = (response) => response.writeHead(200).end()
    await until(
      'all is delivered',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'delivered' })).items.length === 20,
    )
  })

  it('refuses a certificate that nobody vouches for', async () => {
    const server = createServer(await selfSigned(), (_request, response) => response.end())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const webhooks = await world.start()
    const { endpoint } = await register(webhooks, `https://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    await webhooks.service.ping(operator, endpoint.id)
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.match(parked.attempts[0]?.error ?? '', /self-signed/)
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

  it('stops within a moment while an endpoint hangs, and the try does not count', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { headersTimeoutMs: 60_000, totalTimeoutMs: 60_000 }))
    const hanging = await world.receive(() => {})
    const { endpoint } = await register(webhooks, hanging.url)
    await world.happen()
    await until('the request is under way', () => hanging.received.length === 1)
    await webhooks.stop()
    hanging.answer = (response) => response.writeHead(200).end()
    const again = await world.start()
    const delivery = await deliveryIn(again, endpoint.id, 'delivered')
    assert.equal(delivery.attemptsMade, 1)
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

  it('sets poison aside with its cause and goes on', async () => {
    const webhooks = await world.start()
    const receiver = await world.receive()
    await register(webhooks, receiver.url)
    await world.engines.eventLog.append('alerts', [
      { key: 'k', schema: 'alert/1', value: Buffer.from('nonsense') },
      changeMessage(change()),
    ])
    await until('the good one arrived', () => receiver.received.length === 1)
    const dead = await until('the bad one is set aside', async () => {
      const records = await readAll(world.engines.eventLog, 'alerts.dlq')
      return records.length === 1 ? records : null
    })
    assert.match(dead[0]?.headers['dlq-cause'] ?? '', /JSON/)
  })

  it('parks what a full backlog cannot take', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { pendingPerEndpointMax: 3, inFlightPerEndpointMax: 1 }))
    const hanging = await world.receive(() => {})
    const { endpoint } = await register(webhooks, hanging.url)
    await world.happen(...Array.from({ length: 10 }, () => change()))
    await until('seven are parked', async () => {
      const { items } = await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'dead' })
      return items.length === 7 && items.every((each) => each.parkReason === 'backlog-full')
    })
  })

  it('keeps the delivery log within its bounds', async () => {
    const clock = new VirtualClock(T0)
    const webhooks = await world.start(webhooksOptions(world.engines, { deliveriesKeptPerEndpointMax: 3, retentionMs: 3_600_000 }, clock))
    const receiver = await world.receive()
    const { endpoint } = await register(webhooks, receiver.url)
    const count = async (): Promise<number> =>
      (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'delivered' })).items.length
    for (let i = 0; i < 6; i++) {
      await clock.advance(1_000)
      await world.happen()
      await until('it is delivered', async () => (await count()) === i + 1)
    }
    assert.equal(await webhooks.retention.retain(), 3)
    assert.equal(await count(), 3)
    await until('all are gone', async () => {
      await clock.advance(600_000)
      return (await count()) === 0
    })
  })
})
