import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Writable } from 'node:stream'
import { Webhook } from 'standardwebhooks'
import { AccessError, ConflictError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { createLogger } from '../../kernel/log.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { openEngines, operator, readAll, stranger, T0, until, viewer, type Engines } from '../alerts-testing.ts'
import { TargetRefusedError } from './target-guard.ts'
import type { DeliveryDocument } from './webhook-documents.ts'
import type { EndpointView } from './webhook-service.ts'
import { Webhooks, type WebhooksOptions } from './webhooks.ts'
import { change, changeMessage, Receiver, webhooksOptions } from './webhooks-testing.ts'

let engines: Engines
let running: Webhooks[] = []
let receivers: Receiver[] = []
beforeEach(async () => {
  engines = await openEngines(1)
})
afterEach(async () => {
  for (const each of running) await each.stop()
  for (const each of receivers) await each.close()
  running = []
  receivers = []
  await engines.dispose()
})

async function start(options: WebhooksOptions = webhooksOptions(engines)): Promise<Webhooks> {
  const webhooks = new Webhooks(options)
  running.push(webhooks)
  await webhooks.start()
  return webhooks
}

async function receive(...args: Parameters<typeof Receiver.open>): Promise<Receiver> {
  const receiver = await Receiver.open(...args)
  receivers.push(receiver)
  return receiver
}

async function register(webhooks: Webhooks, url: string, events?: string[]): Promise<{ endpoint: EndpointView; secret: string }> {
  const { endpoint, secret } = await webhooks.service.create(operator, events === undefined ? { url } : { url, events })
  return { endpoint, secret: secret.reveal() }
}

function deliveryIn(
  webhooks: Webhooks,
  endpointId: string,
  state: DeliveryDocument['state'],
  moveOn = async (): Promise<void> => {},
): Promise<DeliveryDocument> {
  return until(`a delivery is ${state}`, async () => {
    await moveOn()
    return (await webhooks.service.listDeliveries(operator, endpointId, { state })).items[0]
  })
}

describe('webhooks', () => {
  it('delivers a change, signed, with correlation id and explanation, and logs the try', async () => {
    const webhooks = await start()
    const receiver = await receive((response) => response.writeHead(202).end('thanks'))
    const { endpoint, secret } = await register(webhooks, receiver.url)
    const opened = change()
    await engines.eventLog.append('alerts', [changeMessage(opened)])
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
    const webhooks = await start()
    const receiver = await receive()
    const { endpoint } = await register(webhooks, receiver.url)
    const opened = change()
    await engines.eventLog.append('alerts', [opened, opened, change(), opened].map(changeMessage))
    await until(
      'both are delivered',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'delivered' })).items.length === 2,
    )
    assert.equal(receiver.received.length, 2)
  })

  it('sends only what an endpoint wants, and nothing of a silenced alert but that it resolved', async () => {
    const webhooks = await start()
    const receiver = await receive()
    const { endpoint } = await register(webhooks, receiver.url)
    const second = await register(webhooks, receiver.url, ['alert.repeated'])
    const silenced = { silencedUntil: T0 + 60_000 }
    await engines.eventLog.append(
      'alerts',
      [change({ change: 'repeated' }), change({ change: 'acknowledged' }, silenced), change({ change: 'resolved' }, silenced)].map(
        changeMessage,
      ),
    )
    await engines.eventLog.append('alerts', [changeMessage(change({}, { tenant: 'other' })), changeMessage(change())])
    await until('the last one is delivered', () => receiver.received.length === 3)
    const types = async (id: string): Promise<string[]> =>
      (await webhooks.service.listDeliveries(operator, id)).items.map((each) => each.type).toSorted()
    assert.deepEqual(await types(endpoint.id), ['alert.opened', 'alert.resolved'])
    assert.deepEqual(await types(second.endpoint.id), ['alert.repeated'])
  })

  it('retries with growing waits under the same id, through a restart, and parks after the last try; a replay delivers', async () => {
    const clock = new VirtualClock(T0)
    const options = webhooksOptions(
      engines,
      { attemptsMax: 4, retryInitialMs: 1_000, retryFactor: 3, retryMaxMs: 5_000, retryJitter: 0 },
      clock,
    )
    let webhooks = await start(options)
    const receiver = await receive((response) => response.writeHead(500).end('x'.repeat(5_000)))
    const { endpoint } = await register(webhooks, receiver.url)
    await engines.eventLog.append('alerts', [changeMessage(change())])
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
    webhooks = await start({ ...webhooksOptions(engines, {}, clock), config: options.config })
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
    const webhooks = await start(webhooksOptions(engines, { retryMaxMs: 60_000 }, clock))
    const receiver = await receive((response) => response.writeHead(429, { 'retry-after': '40' }).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await engines.eventLog.append('alerts', [changeMessage(change())])
    await until('the try is written down', async () => {
      const { items } = await webhooks.service.listDeliveries(operator, endpoint.id)
      return items[0]?.attemptsMade === 1 && items[0].nextAttemptAt === T0 + 40_000
    })
  })

  it('disables an endpoint that answers 410', async () => {
    const webhooks = await start()
    const receiver = await receive((response) => response.writeHead(410).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await engines.eventLog.append('alerts', [changeMessage(change())])
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.equal(parked.parkReason, 'endpoint-gone')
    const view = await webhooks.service.get(operator, endpoint.id)
    assert.deepEqual([view.enabled, view.disabledReason], [false, 'gone'])
    await assert.rejects(webhooks.service.replayDelivery(operator, endpoint.id, parked.id), ConflictError)
    const enabled = await webhooks.service.update(operator, endpoint.id, { enabled: true })
    assert.equal(enabled.disabledReason, null)
  })

  it('follows no redirect', async () => {
    const webhooks = await start()
    const other = await receive()
    const receiver = await receive((response) => response.writeHead(307, { location: other.url }).end())
    const { endpoint } = await register(webhooks, receiver.url)
    await engines.eventLog.append('alerts', [changeMessage(change())])
    const delivery = await deliveryIn(webhooks, endpoint.id, 'pending', async () => {
      await until('the redirect was answered', () => receiver.received.length > 0)
    })
    await until(
      'it is written down',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id)).items[0]?.attempts[0]?.status === 307,
    )
    assert.equal(delivery.endpointId, endpoint.id)
    assert.equal(other.received.length, 0)
  })

  it('reads no more of an endless response than it may', async () => {
    const webhooks = await start(webhooksOptions(engines, { responseBytesMax: 2_000, responseBytesKept: 100 }))
    let closed = false
    const receiver = await receive((response) => {
      response.writeHead(200)
      const more = (): void => void (response.write('y'.repeat(1_000)) ? setImmediate(more) : response.once('drain', more))
      response.on('close', () => (closed = true))
      response.on('error', () => {})
      more()
    })
    const { endpoint } = await register(webhooks, receiver.url)
    await engines.eventLog.append('alerts', [changeMessage(change())])
    const delivery = await deliveryIn(webhooks, endpoint.id, 'delivered')
    assert.equal(delivery.attempts[0]?.responseBody, 'y'.repeat(100))
    await until('the connection is closed', () => closed)
  })

  it('is not held up by an endpoint that hangs', async () => {
    const webhooks = await start(
      webhooksOptions(engines, { headersTimeoutMs: 60_000, totalTimeoutMs: 60_000, inFlightMax: 16, failingInFlightMax: 2 }),
    )
    const hanging = await receive(() => {})
    const working = await receive()
    await register(webhooks, hanging.url)
    const { endpoint } = await register(webhooks, working.url)
    await engines.eventLog.append(
      'alerts',
      Array.from({ length: 50 }, () => changeMessage(change())),
    )
    await until('the working one has them all', async () => working.received.length === 50)
    assert.ok(hanging.received.length <= 8)
    await until(
      'all is written down',
      async () => (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'pending' })).items.length === 0,
    )
  })

  it('gives up a try that takes too long, and says so', async () => {
    const webhooks = await start(webhooksOptions(engines, { headersTimeoutMs: 100, totalTimeoutMs: 200 }))
    const hanging = await receive(() => {})
    const { endpoint } = await register(webhooks, hanging.url)
    await webhooks.service.ping(operator, endpoint.id)
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.equal(parked.attempts[0]?.status, null)
    assert.match(parked.attempts[0]?.error ?? '', /timeout|took longer/i)
  })

  it('stops within a moment while an endpoint hangs, and the try does not count', async () => {
    const webhooks = await start(webhooksOptions(engines, { headersTimeoutMs: 60_000, totalTimeoutMs: 60_000 }))
    const hanging = await receive(() => {})
    const { endpoint } = await register(webhooks, hanging.url)
    await engines.eventLog.append('alerts', [changeMessage(change())])
    await until('the request is under way', () => hanging.received.length === 1)
    await webhooks.stop()
    hanging.answer = (response) => response.writeHead(200).end()
    const again = await start()
    const delivery = await deliveryIn(again, endpoint.id, 'delivered')
    assert.equal(delivery.attemptsMade, 1)
  })

  it('refuses a target that its name turns out to be, without a connection', async () => {
    const receiver = await receive()
    const port = new URL(receiver.url).port
    const webhooks = await start({
      ...webhooksOptions(engines, { allowPrivateTargets: false }),
      resolve: async () => [{ address: '127.0.0.1', family: 4 }],
    })
    const { endpoint } = await register(webhooks, `http://innocent.example:${port}/`)
    await engines.eventLog.append('alerts', [changeMessage(change())])
    const parked = await deliveryIn(webhooks, endpoint.id, 'dead')
    assert.equal(parked.parkReason, 'target-refused')
    assert.match(parked.attempts[0]?.error ?? '', /127\.0\.0\.1 is not a public address/)
    assert.equal(receiver.received.length, 0)
    await assert.rejects(register(webhooks, receiver.url), TargetRefusedError)
  })

  it('sets poison aside with its cause and goes on', async () => {
    const webhooks = await start()
    const receiver = await receive()
    await register(webhooks, receiver.url)
    await engines.eventLog.append('alerts', [{ key: 'k', schema: 'alert/1', value: Buffer.from('nonsense') }, changeMessage(change())])
    await until('the good one arrived', () => receiver.received.length === 1)
    const dead = await until('the bad one is set aside', async () => {
      const records = await readAll(engines.eventLog, 'alerts.dlq')
      return records.length === 1 ? records : null
    })
    assert.match(dead[0]?.headers['dlq-cause'] ?? '', /JSON/)
  })

  it('parks what a full backlog cannot take', async () => {
    const webhooks = await start(webhooksOptions(engines, { pendingPerEndpointMax: 3, inFlightPerEndpointMax: 1 }))
    const hanging = await receive(() => {})
    const { endpoint } = await register(webhooks, hanging.url)
    await engines.eventLog.append(
      'alerts',
      Array.from({ length: 10 }, () => changeMessage(change())),
    )
    await until('seven are parked', async () => {
      const { items } = await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'dead' })
      return items.length === 7 && items.every((each) => each.parkReason === 'backlog-full')
    })
  })

  it('keeps the delivery log within its bounds', async () => {
    const clock = new VirtualClock(T0)
    const webhooks = await start(webhooksOptions(engines, { deliveriesKeptPerEndpointMax: 3, retentionMs: 3_600_000 }, clock))
    const receiver = await receive()
    const { endpoint } = await register(webhooks, receiver.url)
    const count = async (): Promise<number> =>
      (await webhooks.service.listDeliveries(operator, endpoint.id, { state: 'delivered' })).items.length
    for (let i = 0; i < 6; i++) {
      await clock.advance(1_000)
      await engines.eventLog.append('alerts', [changeMessage(change())])
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

describe('webhook service', () => {
  it('shows a secret once: not in lists, not in deliveries, not in logs', async () => {
    let logged = ''
    const destination = new Writable({
      write: (piece: Buffer, _encoding, done) => {
        logged += piece.toString()
        done()
      },
    })
    const webhooks = await start({ ...webhooksOptions(engines, { attemptsMax: 1 }), log: createLogger({ level: 'trace', destination }) })
    const receiver = await receive((response) => response.writeHead(500).end())
    const { endpoint, secret } = await register(webhooks, receiver.url)
    await engines.eventLog.append('alerts', [changeMessage(change())])
    await deliveryIn(webhooks, endpoint.id, 'dead')
    const shown = JSON.stringify([
      endpoint,
      await webhooks.service.list(operator),
      await webhooks.service.get(operator, endpoint.id),
      await webhooks.service.listDeliveries(operator, endpoint.id),
    ])
    assert.ok(logged.includes('parked'))
    assert.ok(!shown.includes('whsec_') && !logged.includes(secret))
  })

  it('signs with the old secret beside the new one for a while', async () => {
    const webhooks = await start()
    const receiver = await receive()
    const { endpoint, secret } = await register(webhooks, receiver.url)
    const { secret: newer } = await webhooks.service.rotateSecret(operator, endpoint.id, 3_600_000)
    await webhooks.service.ping(operator, endpoint.id)
    await until('the test message arrived', () => receiver.received.length === 1)
    const [request] = receiver.received
    for (const each of [secret, newer.reveal()]) {
      const payload = new Webhook(each).verify(request?.body ?? '', request?.headers ?? {}) as { type: string }
      assert.equal(payload.type, 'webhook.ping')
    }
    await webhooks.service.rotateSecret(operator, endpoint.id, 0)
    await webhooks.service.ping(operator, endpoint.id)
    await until('the next one arrived', () => receiver.received.length === 2)
    assert.throws(() => new Webhook(newer.reveal()).verify(receiver.received[1]?.body ?? '', receiver.received[1]?.headers ?? {}))
  })

  it('asks who acts, and never shows a tenant to another', async () => {
    const webhooks = await start()
    const { endpoint } = await register(webhooks, 'https://hooks.example/')
    await assert.rejects(webhooks.service.create(viewer, { url: 'https://hooks.example/' }), AccessError)
    await assert.rejects(webhooks.service.get(stranger, endpoint.id), NotFoundError)
    await assert.rejects(webhooks.service.delete(stranger, endpoint.id), NotFoundError)
    await assert.rejects(webhooks.service.listDeliveries(stranger, endpoint.id), NotFoundError)
    assert.deepEqual((await webhooks.service.list(stranger)).items, [])
  })

  it('refuses bad input, too many endpoints and stale versions', async () => {
    const webhooks = await start(webhooksOptions(engines, { endpointsMax: 2, allowHttp: false }))
    const { service } = webhooks
    await assert.rejects(service.create(operator, { url: 'http://hooks.example/' }), InvalidInputError)
    await assert.rejects(service.create(operator, { url: 'https://hooks.example/', events: ['alert.exploded'] }), InvalidInputError)
    await assert.rejects(service.create(operator, { url: 'https://hooks.example/', events: [] }), InvalidInputError)
    const { endpoint } = await register(webhooks, 'https://hooks.example/')
    const updated = await service.update(operator, endpoint.id, { description: 'pager', enabled: false }, endpoint.version)
    assert.deepEqual([updated.description, updated.enabled, updated.disabledReason], ['pager', false, 'operator'])
    await assert.rejects(service.update(operator, endpoint.id, { description: 'x' }, endpoint.version), ConflictError)
    await assert.rejects(service.ping(operator, endpoint.id), ConflictError)
    await register(webhooks, 'https://hooks.example/2')
    await assert.rejects(register(webhooks, 'https://hooks.example/3'), LimitError)
    await service.delete(operator, endpoint.id)
    await assert.rejects(service.get(operator, endpoint.id), NotFoundError)
  })

  it('pages through endpoints and deliveries, newest first', async () => {
    const webhooks = await start()
    const receiver = await receive()
    const { endpoint } = await register(webhooks, receiver.url)
    for (let i = 0; i < 3; i++) await register(webhooks, `https://hooks.example/${i}`)
    await engines.eventLog.append(
      'alerts',
      Array.from({ length: 7 }, () => changeMessage(change())),
    )
    await until('all are delivered', () => receiver.received.length === 7)
    const endpoints: string[] = []
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await webhooks.service.list(operator, { limit: 3, ...(cursor === undefined ? {} : { cursor }) })
      endpoints.push(...page.items.map((each) => each.id))
      cursor = page.next
    }
    assert.equal(new Set(endpoints).size, 4)
    assert.deepEqual(endpoints, endpoints.toSorted().toReversed())
    const deliveries: string[] = []
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await webhooks.service.listDeliveries(operator, endpoint.id, { limit: 2, ...(cursor === undefined ? {} : { cursor }) })
      deliveries.push(...page.items.map((each) => `${each.createdAt}.${each.id}`))
      cursor = page.next
    }
    assert.equal(new Set(deliveries).size, 7)
    assert.deepEqual(deliveries, deliveries.toSorted().toReversed())
    await assert.rejects(webhooks.service.listDeliveries(operator, endpoint.id, { cursor: 'x' }), InvalidInputError)
  })
})
