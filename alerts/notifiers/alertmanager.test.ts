import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Alertmanager, skipWithoutAlertmanager } from '../../test/testing/alertmanager.ts'
import { operator, until } from '../alerts-testing.ts'
import { change, deliveryIn, webhooksOptions, WebhookWorld } from '../webhooks/webhooks-testing.ts'

/* Prometheus Alertmanager as Debian packs it takes what the notifier sends. */

const skip = skipWithoutAlertmanager('its API v2')
let world: WebhookWorld
let alertmanager: Alertmanager
let origin: string

before(async () => {
  if (skip !== false) return
  world = await WebhookWorld.open()
  alertmanager = new Alertmanager()
  await alertmanager.start('route:\n  receiver: none\nreceivers:\n  - name: none\n')
  origin = alertmanager.origin
})
after(async () => {
  if (skip !== false) return
  await alertmanager.remove()
  await world.close()
})

interface Held {
  labels: Record<string, string>
  annotations: Record<string, string>
  status: { state: string }
}
async function held(): Promise<Held[]> {
  return (await (await fetch(`${origin}/api/v2/alerts?active=true`)).json()) as Held[]
}

test(
  'Alertmanager shows an alert while it is open, in its severity, and no longer when it resolved',
  { skip, timeout: 300_000 },
  async () => {
    const webhooks = await world.start(webhooksOptions(world.engines))
    const { endpoint } = await webhooks.service.create(operator, { url: origin, kind: 'alertmanager' })
    await webhooks.service.ping(operator, endpoint.id)
    assert.equal((await deliveryIn(webhooks, endpoint.id, 'delivered')).attempts[0]?.status, 200)
    const nowMs = Date.now()
    const alert = { id: '01alert', openedAt: nowMs - 60_000, updatedAt: nowMs, labels: { site: 'north' } }
    const named = async (): Promise<Held[]> => (await held()).filter(({ labels }) => labels.fleetpulse_id === '01alert')
    await world.happen(change({ id: '01alert-1' }, alert))
    const [opened] = await until('it is there', async () => ((all) => (all.length === 1 ? all : null))(await named()))
    assert.deepEqual(
      [opened?.labels.alertname, opened?.labels.site, opened?.labels.severity, opened?.status.state],
      ['fleetpulse_value', 'north', 'warning', 'active'],
    )
    assert.equal(opened?.annotations.description, '[warning] temperature of pump-1 is unusual — opened: too warm')
    await world.happen(change({ id: '01alert-2', change: 'severity-changed' }, { ...alert, severity: 'critical' }))
    await until('it is critical alone', async () => (await named()).map(({ labels }) => labels.severity).join() === 'critical')
    await world.happen(
      change({ id: '01alert-3', change: 'resolved' }, { ...alert, severity: 'critical', state: 'resolved', resolvedAt: nowMs }),
    )
    await until('it is over', async () => (await named()).length === 0)
  },
)
