import assert from 'node:assert/strict'
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { operator, until } from '../alerts-testing.ts'
import { change, deliveryIn, webhooksOptions, WebhookWorld } from '../webhooks/webhooks-testing.ts'

/* Prometheus Alertmanager as Debian packs it takes what the notifier sends. */

const ALERTMANAGER = process.env.ALERTMANAGER ?? 'prometheus-alertmanager'
const isThere = spawnSync(ALERTMANAGER, ['--version']).status === 0
if (!isThere)
  console.warn(`SKIPPED: no ${ALERTMANAGER} (apt-get install prometheus-alertmanager, or set ALERTMANAGER): its API v2 was not tested`)
const skip = isThere || process.env.FLEETPULSE_REQUIRE_TOOLS === '1' ? false : `there is no ${ALERTMANAGER}`

let world: WebhookWorld
let folder: string
let origin: string
let process_: ChildProcess | undefined

before(async () => {
  if (skip !== false) return
  world = await WebhookWorld.open()
  folder = await mkdtemp(join(tmpdir(), 'fleetpulse-alertmanager-'))
  const port = await freePort()
  origin = `http://127.0.0.1:${port}`
  await writeFile(join(folder, 'am.yml'), 'route:\n  receiver: none\nreceivers:\n  - name: none\n')
  const args = [
    `--config.file=${join(folder, 'am.yml')}`,
    `--storage.path=${folder}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--cluster.listen-address=',
  ]
  process_ = spawn(ALERTMANAGER, args, { stdio: 'ignore' })
  await until('it is ready', () =>
    fetch(`${origin}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  )
})
after(async () => {
  if (skip !== false) return
  process_?.kill('SIGKILL')
  await world.close()
  await rm(folder, { recursive: true, force: true })
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

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
