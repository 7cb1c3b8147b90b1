import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { AccessError, ConflictError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { createLogger } from '../../kernel/log.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { operator, stranger, T0, until, viewer } from '../alerts-testing.ts'
import { change, deliveryIn, register, webhooksOptions, WebhookWorld } from './webhooks-testing.ts'

let world: WebhookWorld
beforeEach(async () => {
  world = await WebhookWorld.open()
})
afterEach(() => world.close())

describe('webhook service', () => {
  it('shows a secret once: not in lists, not in deliveries, not in logs', async () => {
    let logged = ''
    const destination = new Writable({
      write: (piece: Buffer, _encoding, done) => {
        logged += piece.toString()
        done()
      },
    })
    const webhooks = await world.start({
      ...webhooksOptions(world.engines, { attemptsMax: 1 }),
      log: createLogger({ level: 'trace', destination }),
    })
    const receiver = await world.receive((response) => response.writeHead(500).end())
    const { endpoint, secret } = await register(webhooks, receiver.url)
    await world.happen()
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
    const webhooks = await world.start()
    const receiver = await world.receive()
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
    const webhooks = await world.start()
    const { endpoint } = await register(webhooks, 'https://hooks.example/')
    await assert.rejects(webhooks.service.create(viewer, { url: 'https://hooks.example/' }), AccessError)
    await assert.rejects(webhooks.service.get(stranger, endpoint.id), NotFoundError)
    await assert.rejects(webhooks.service.delete(stranger, endpoint.id), NotFoundError)
    await assert.rejects(webhooks.service.listDeliveries(stranger, endpoint.id), NotFoundError)
    assert.deepEqual((await webhooks.service.list(stranger)).items, [])
  })

  it('refuses bad input, too many endpoints and stale versions', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { endpointsMax: 2, allowHttp: false }))
    const { service } = webhooks
    await assert.rejects(service.create(operator, { url: 'http://hooks.example/' }), InvalidInputError)
    await assert.rejects(service.create(operator, { url: 'https://hooks.example/', events: ['alert.exploded'] }), InvalidInputError)
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

  it('shows who may only look no key that is part of an address, nor what a receiver gives away', async () => {
    const webhooks = await world.start(webhooksOptions(world.engines, { attemptsMax: 1 }))
    const receiver = await world.receive((response) =>
      response
        .writeHead(500, { 'set-cookie': 'session=c00k1e', 'x-echo': 'Bearer abcdefghijklmnop1234' })
        .end('token whsec_abcdefghijklmnop1234'),
    )
    for (const kind of ['slack', 'standard-webhooks'] as const) {
      const url = `${new URL('/services/T0/B0', receiver.url).href}?token=k3y`
      const { endpoint } = await webhooks.service.create(operator, { kind, url })
      await webhooks.service.ping(operator, endpoint.id)
      await deliveryIn(webhooks, endpoint.id, 'dead')
      const seenBy = async (principal: typeof viewer): Promise<string> =>
        JSON.stringify([
          await webhooks.service.list(principal),
          await webhooks.service.get(principal, endpoint.id),
          await webhooks.service.listDeliveries(principal, endpoint.id),
        ])
      const [shown, whole] = [await seenBy(viewer), await seenBy(operator)]
      assert.ok(!shown.includes('k3y') && whole.includes('k3y'), kind)
      assert.equal(shown.includes('/services/T0'), kind !== 'slack')
      for (const given of ['c00k1e', 'abcdefghijklmnop1234']) assert.ok(!whole.includes(given), given)
    }
  })

  it('sends so many test messages in a minute, and no more', async () => {
    const clock = new VirtualClock(T0)
    const webhooks = await world.start(webhooksOptions(world.engines, { testsPerMinute: 3 }, clock))
    const receiver = await world.receive()
    const [{ endpoint }, other] = [await register(webhooks, receiver.url), await register(webhooks, receiver.url)]
    for (let i = 0; i < 3; i++) await webhooks.service.ping(operator, endpoint.id)
    await assert.rejects(webhooks.service.ping(operator, endpoint.id), LimitError)
    await webhooks.service.ping(operator, other.endpoint.id)
    await clock.advance(20_000)
    await webhooks.service.ping(operator, endpoint.id)
    await until('five came', () => receiver.received.length === 5)
  })

  it('pages through endpoints and deliveries, newest first', async () => {
    const webhooks = await world.start()
    const receiver = await world.receive()
    const { endpoint } = await register(webhooks, receiver.url)
    for (let i = 0; i < 3; i++) await register(webhooks, `https://hooks.example/${i}`)
    await world.happen(...Array.from({ length: 7 }, () => change()))
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
