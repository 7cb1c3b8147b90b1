import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { ConflictError } from '../../kernel/errors.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { operator, readAll, T0, until } from '../alerts-testing.ts'
import { DELIVERIES_COLLECTION, type DeliveryDocument } from './webhook-documents.ts'
import type { EndpointSettings } from './webhook-service.ts'
import { change, changeMessage, deliveryIn, register, webhooksConfig, webhooksOptions, WebhookWorld } from './webhooks-testing.ts'

const HOUR = 3_600_000

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
    const { endpoint, secret } = await register(webhooks, receiver.url)
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
    const seconds = receiver.received.map(({ headers }) => Number(headers['webhook-timestamp']) - T0 / 1_000)
    assert.deepEqual(seconds, [0, 1, 4, 9], 'each try has its own time, or receivers would call it stale')
    for (const { headers, body } of receiver.received) {
      const at = new Date(Number(headers['webhook-timestamp']) * 1_000)
      assert.equal(headers['webhook-signature'], new Webhook(secret).sign(parked.id, at, body))
    }

    receiver.answer = (response) => response.writeHead(200).end()
    await webhooks.service.replayDelivery(operator, endpoint.id, parked.id)
    const delivered = await deliveryIn(webhooks, endpoint.id, 'delivered')
    assert.equal(delivered.id, parked.id)
    assert.equal(receiver.received.at(-1)?.headers['webhook-id'], parked.id)
    await webhooks.service.replayDelivery(operator, endpoint.id, parked.id)
    await until('it came again', () => receiver.received.length === 6)
  })

  it('waits as long as Retry-After says, within the longest wait, and as always where it says nothing sensible', async () => {
    const clock = new VirtualClock(T0)
    const limits = { retryInitialMs: 1_000, retryMaxMs: 60_000, retryJitter: 0, breakerFailures: 0 }
    const webhooks = await world.start(webhooksOptions(world.engines, limits, clock))
    const receiver = await world.receive()
    const { endpoint } = await register(webhooks, receiver.url)
    for (const [said, waitMs] of [
      ['40', 40_000],
      [new Date(T0 + 30_000).toUTCString(), 30_000],
      ['99999999999999999999', 60_000],
      ['Fri, 31 Dec 9999 23:59:59 GMT', 60_000],
      ['-5', 1_000],
      ['0', 1_000],
      [new Date(T0 - 30_000).toUTCString(), 1_000],
      ['soon', 1_000],
    ] as const) {
      receiver.answer = (response) => response.writeHead(429, { 'retry-after': said }).end()
      const happened = change()
      await world.happen(happened)
      const tried = await until(`the try after "${said}" is written down`, async () => {
        const { items } = await webhooks.service.listDeliveries(operator, endpoint.id)
        return items.find(({ alertId, attemptsMade }) => alertId === happened.alert.id && attemptsMade === 1)
      })
      assert.equal(Number(tried.nextAttemptAt) - T0, waitMs, said)
    }
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

  it('disables it although others changed it meanwhile, unless it was given another address', async () => {
    const webhooks = await world.start()
    const receiver = await world.receive()
    const other = await world.receive()
    let change: EndpointSettings = { description: 'still there' }
    const { endpoint } = await register(webhooks, receiver.url)
    receiver.answer = (response) => void webhooks.service.update(operator, endpoint.id, change).then(() => response.writeHead(410).end())
    await world.happen()
    await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.deepEqual((await webhooks.service.get(operator, endpoint.id)).disabledReason, 'gone')
    change = { url: other.url }
    await webhooks.service.update(operator, endpoint.id, { enabled: true })
    await world.happen()
    await until(
      'the second one is parked',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'dead' })).items.length === 2,
    )
    assert.equal((await webhooks.service.get(operator, endpoint.id)).enabled, true)
  })

  it('brings a message to a receiver that was down for a day, with waits that grow, each partly by chance', async () => {
    const clock = new VirtualClock(T0)
    const config = webhooksConfig({ allowHttp: true, allowPrivateTargets: true, breakerFailures: 0 })
    const webhooks = await world.start({ ...webhooksOptions(world.engines, {}, clock), config })
    const receiver = await world.receive((response) => response.writeHead(503).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen()
    const waits: number[] = []
    for (let tries = 1; ; tries++) {
      const tried = await until(`try ${tries} is written down`, async () => {
        const { items } = await webhooks.service.listDeliveries(operator, endpoint.id)
        return items[0]?.attemptsMade === tries ? items[0] : null
      })
      if (tried.state === 'delivered') break
      assert.equal(tried.state, 'pending', `parked after ${(clock.nowMs() - T0) / HOUR} h`)
      if (clock.nowMs() - T0 > 24 * HOUR) receiver.answer = (response) => response.writeHead(204).end()
      waits.push(Number(tried.nextAttemptAt) - clock.nowMs())
      await clock.advance(waits.at(-1) as number)
    }
    const full = (n: number): number => Math.min(6 * HOUR, 5_000 * 3 ** n)
    waits.forEach((wait, n) => assert.ok(wait >= 0.8 * full(n) && wait <= full(n) + 1, `wait ${n + 1} of ${wait} ms`))
    assert.ok(new Set(waits.slice(8)).size > 1, 'chance has its part')
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
    const webhooks = await world.start(webhooksOptions(world.engines, { retryInitialMs: 100, retryMaxMs: 100, breakerFailures: 0 }))
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

  it('goes on at the new address, under the same id, when an endpoint is moved while it is tried', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { retryInitialMs: 200, retryMaxMs: 200 }))
    const [before, after] = [await world.receive((response) => response.writeHead(503).end()), await world.receive()]
    const { endpoint, secret } = await register(webhooks, before.url)
    await world.happen()
    await until('it was tried', () => before.received.length > 0)
    await webhooks.service.update(operator, endpoint.id, { url: after.url })
    await until('it came', () => after.received.length === 1)
    const [request] = after.received
    new Webhook(secret).verify(request?.body ?? '', request?.headers ?? {})
    assert.deepEqual([request?.headers['webhook-id'], request?.body], [before.received[0]?.headers['webhook-id'], before.received[0]?.body])
  })

  it('sends once what two processes find due at the same time', async () => {
    let first = await world.start(webhooksOptions(world.engines, { retryInitialMs: 100, retryMaxMs: 100, breakerFailures: 0 }))
    const receiver = await world.receive((response) => response.writeHead(503).end())
    const { endpoint } = await register(first, receiver.url)
    await world.happen(...Array.from({ length: 40 }, () => change()))
    await until('all were written', async () => (await first.service.listDeliveries(operator, endpoint.id)).items.length === 40)
    await first.stop()
    const tried = receiver.received.length
    receiver.answer = (response) => response.writeHead(204).end()
    const both = await Promise.all([world.start(webhooksOptions(world.engines)), world.start(webhooksOptions(world.engines))])
    first = both[0]
    await until(
      'all are delivered',
      async () => (await first.service.listDeliveries(operator, endpoint.id, { state: 'delivered' })).items.length === 40,
    )
    assert.equal(receiver.received.length - tried, 40)
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

  it('leaves an endpoint alone that failed too often in a row, through a restart, and tries one after a while', async () => {
    const clock = new VirtualClock(T0)
    const limits = { retryInitialMs: 100, retryMaxMs: 100, retryJitter: 0, breakerFailures: 3, breakerOpenMs: 60_000, attemptsMax: 50 }
    let webhooks = await world.start(webhooksOptions(world.engines, limits, clock))
    const receiver = await world.receive((response) => response.writeHead(503).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen(change(), change(), change(), change(), change())
    const restsUntil = await until('it is left alone', async () => {
      await clock.advance(100)
      return (await webhooks.service.get(operator, endpoint.id)).restsUntil
    })
    const tried = receiver.received.length
    await webhooks.stop()
    webhooks = await world.start(webhooksOptions(world.engines, limits, clock))
    for (let i = 0; i < 20; i++) await clock.advance(1_000)
    assert.ok(receiver.received.length <= tried + 5, 'those under way at the time')
    const resting = receiver.received.length
    for (let i = 0; i < 10; i++) await clock.advance(1_000)
    assert.equal(receiver.received.length, resting)
    let now: number = await until('it is left alone', async () => (await webhooks.service.get(operator, endpoint.id)).restsUntil)
    for (let probe = 1; probe <= 3; probe++) {
      await clock.advance(now - clock.nowMs())
      now = await until('one try says that it still fails', async () => {
        await clock.advance(100)
        const { restsUntil } = await webhooks.service.get(operator, endpoint.id)
        return restsUntil === now ? null : restsUntil
      })
      assert.equal(receiver.received.length, resting + probe, 'one try after each rest')
    }
    receiver.answer = (response) => response.writeHead(204).end()
    await until('all are delivered', async () => {
      await clock.advance(1_000)
      return (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'delivered' })).items.length === 5
    })
    assert.ok(clock.nowMs() >= restsUntil)
    await until('it is trusted again', async () => (await webhooks.service.get(operator, endpoint.id)).restsUntil === null)
  })

  it('keeps the order for an endpoint that wants it: the next waits until the one before is over', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { retryInitialMs: 100, retryMaxMs: 100, breakerFailures: 0 }))
    let failures = 3
    const receiver = await world.receive((response, { headers }) => {
      const isSecond = headers['webhook-id']?.includes('second') === true
      response.writeHead(isSecond && failures-- > 0 ? 500 : 204).end()
    })
    await webhooks.service.create(operator, { url: receiver.url, ordered: true })
    const names = ['first', 'second', 'third', 'fourth', 'fifth']
    await world.happen(...names.map((id) => change({ id })))
    await until('all came', () => receiver.received.length === names.length + 3)
    const came = receiver.received.map(({ headers }) => headers['webhook-id']?.split('_').at(-1))
    assert.deepEqual(came, ['first', 'second', 'second', 'second', 'second', 'third', 'fourth', 'fifth'])
  })

  it('sends all parked deliveries again', async () => {
    const limits = { attemptsMax: 2, retryInitialMs: 100, retryMaxMs: 100, breakerFailures: 0 }
    const webhooks = await world.start(webhooksOptions(world.engines, limits))
    const receiver = await world.receive((response) => response.writeHead(500, { 'x-why': 'down' }).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await world.happen(...Array.from({ length: 7 }, () => change()))
    const inState = async (state: DeliveryDocument['state']): Promise<DeliveryDocument[]> =>
      (await webhooks.service.listDeliveries(operator, endpoint.id, { state })).items
    await until('all are parked', async () => (await inState('dead')).length === 7)
    let deaths = 3
    receiver.answer = (response) => (deaths-- > 0 ? response.destroy() : response.writeHead(204).end())
    assert.equal(await webhooks.service.replayAll(operator, endpoint.id), 7)
    await until('all are delivered, although the receiver died under it', async () => (await inState('delivered')).length === 7)
    const spared = (await inState('delivered')).find(({ attemptsMade }) => attemptsMade === 1)
    const [again, before] = spared?.attempts ?? []
    assert.deepEqual([again?.status, before?.status, before?.responseHeaders?.['x-why']], [204, 500, 'down'])
    assert.equal(again?.requestHeaders?.['webhook-id'], spared?.id)
    assert.ok((again?.headersMs ?? -1) >= 0)
    const ids = receiver.received.map(({ headers }) => headers['webhook-id'])
    assert.equal(new Set(ids).size, 7, 'under the ids they had')
  })

  it('takes every parked delivery up once, although they are parked again meanwhile', async () => {
    const limits = { attemptsMax: 1, breakerFailures: 0, pendingPerEndpointMax: 1 }
    const webhooks = await world.start(webhooksOptions(world.engines, limits))
    const receiver = await world.receive((response) => response.writeHead(500).end())
    const { endpoint } = await register(webhooks, receiver.url)
    const count = 620
    await world.happen(...Array.from({ length: count }, () => change()))
    const deliveries = await world.engines.documents.collection<DeliveryDocument>(DELIVERIES_COLLECTION)
    await until('all are parked', async () => (await deliveries.count({ endpointId: endpoint.id, state: 'dead' })) === count)
    assert.equal(await webhooks.service.replayAll(operator, endpoint.id), count)
    await until('some were tried and parked again', () => receiver.received.length > 10)
    const untouched = { endpointId: endpoint.id, state: 'dead', parkReason: 'backlog-full' }
    assert.equal(await deliveries.count(untouched), 0)
  })

  it('forgets the deliveries of an endpoint that is removed, one under way too', async () => {
    const webhooks = await world.start()
    const hanging = await world.receive(() => {})
    const { endpoint } = await register(webhooks, hanging.url)
    await world.happen(change(), change(), change())
    await until('one is under way', () => hanging.received.length > 0)
    await webhooks.service.delete(operator, endpoint.id)
    await world.happen()
    const other = await world.receive()
    await register(webhooks, other.url)
    await world.happen()
    await until('others go on', () => other.received.length > 0)
    await webhooks.stop()
    const deliveries = await world.engines.documents.collection<DeliveryDocument>(DELIVERIES_COLLECTION)
    assert.deepEqual(await deliveries.find({ endpointId: endpoint.id }), [])
  })
})
