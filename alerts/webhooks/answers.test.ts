import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { VirtualClock } from '../../kernel/time.ts'
import { operator, T0, until } from '../alerts-testing.ts'
import type { DeliveryDocument } from './webhook-documents.ts'
import { change, register, webhooksOptions, WebhookWorld, type Receiver } from './webhooks-testing.ts'
import type { Webhooks } from './webhooks.ts'

/* What each answer of a receiver does to the delivery: delivered, tried again and when, or given up. */

const FIRST_WAIT_MS = 5_000
const clock = new VirtualClock(T0)
let world: WebhookWorld
let webhooks: Webhooks
let receiver: Receiver
beforeEach(async () => {
  world = await WebhookWorld.open()
  const limits = { retryInitialMs: FIRST_WAIT_MS, retryMaxMs: 60_000, retryJitter: 0, breakerFailures: 0 }
  webhooks = await world.start(webhooksOptions(world.engines, limits, clock))
  receiver = await world.receive()
})
afterEach(() => world.close())

/** The delivery after its first try was answered so. */
async function answered(endpointId: string, status: number, headers: Record<string, string> = {}): Promise<DeliveryDocument> {
  receiver.answer = (response) => response.writeHead(status, headers).end()
  const happened = change()
  await world.happen(happened)
  return until(`the try answered ${status} is written down`, async () => {
    const { items } = await webhooks.service.listDeliveries(operator, endpointId, { limit: 100 })
    return items.find(({ alertId, attemptsMade }) => alertId === happened.alert.id && attemptsMade === 1)
  })
}

describe('what a receiver answers', () => {
  it('is success from 200 to 299; all else is tried again, but for 410', async () => {
    const { endpoint } = await register(webhooks, receiver.url)
    for (const status of [200, 201, 202, 204, 206, 299]) {
      const { state, nextAttemptAt } = await answered(endpoint.id, status)
      assert.deepEqual([state, nextAttemptAt], ['delivered', null], String(status))
    }
    for (const status of [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 408, 409, 413, 422, 425, 429, 451, 500, 501, 503, 599]) {
      const { state, nextAttemptAt, parkReason } = await answered(endpoint.id, status)
      assert.deepEqual([state, nextAttemptAt, parkReason], ['pending', T0 + FIRST_WAIT_MS, null], String(status))
    }
    assert.equal((await webhooks.service.get(operator, endpoint.id)).enabled, true)
    const { state, parkReason } = await answered(endpoint.id, 410)
    assert.deepEqual([state, parkReason], ['dead', 'endpoint-gone'])
  })

  it('puts the next try off by Retry-After with every status, and never brings it forward', async () => {
    const { endpoint } = await register(webhooks, receiver.url)
    for (const [status, said, waitMs] of [
      [503, '40', 40_000],
      [429, '40', 40_000],
      [413, '40', 40_000],
      [301, '40', 40_000],
      [500, '1', FIRST_WAIT_MS],
      [503, new Date(T0 + 1_000).toUTCString(), FIRST_WAIT_MS],
      [503, '9'.repeat(400), 60_000],
      [503, '+40', FIRST_WAIT_MS],
      [503, '1e9', FIRST_WAIT_MS],
      [503, 'in 2099', FIRST_WAIT_MS],
      [503, '40, 50', FIRST_WAIT_MS],
    ] as const) {
      const { nextAttemptAt } = await answered(endpoint.id, status, { 'retry-after': said })
      assert.equal(Number(nextAttemptAt) - T0, waitMs, `${status} ${said.slice(0, 40)}`)
    }
  })
})
