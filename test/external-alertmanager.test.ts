import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { parse, stringify } from 'yaml'
import type { Alert } from '../contracts/alert.ts'
import { Alertmanager, skipWithoutAlertmanager } from './testing/alertmanager.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'
import { readProjectFile } from './testing/repository.ts'

/* Prometheus Alertmanager as Debian packs it tells the process users start of alerts, set up as the page says. */

const PAGE = 'docs/external-alerts.md'
const skip = skipWithoutAlertmanager('its webhook to our API')
/** Longer than any of its groups waits, however slow the machine. */
const WAIT_MS = 120_000

const platform = new PlatformProcess({ FLEETPULSE_ALERTS_RESOLVE_QUIET_MS: '0' })
const alertmanager = new Alertmanager()

before(async () => {
  if (skip !== false) return
  await platform.start()
  await platform.post('/devices', { id: 'pump-1', type: 'generic' })
  const key = { name: 'alertmanager', role: 'operator', scopes: ['write:external-alerts'] }
  const made = await platform.post<{ secret: string }>('/api-keys', key)
  assert.equal(made.status, 201)
  await alertmanager.start(configurationOfThePage(made.body.secret))
})
after(async () => {
  await alertmanager.remove()
  await platform.remove()
})

interface Configuration {
  route: Record<string, unknown>
  receivers: { webhook_configs: { url: string; http_config: { authorization: { credentials_file: string } } }[] }[]
}

/** What the page shows, with this platform's address, the key's file and times as short as Alertmanager takes them. */
function configurationOfThePage(secret: string): string {
  const [, shown] = /```yaml\n(.*?)```/s.exec(readProjectFile(PAGE)) ?? []
  assert.ok(shown, `${PAGE} shows a configuration`)
  const configuration = parse(shown) as Configuration
  const webhook = configuration.receivers[0]?.webhook_configs[0]
  assert.ok(webhook)
  const credentials = join(alertmanager.folder, 'fleetpulse-key')
  writeFileSync(credentials, `${secret}\n`, { mode: 0o600 })
  webhook.url = `${platform.api}${new URL(webhook.url).pathname}`
  webhook.http_config.authorization.credentials_file = credentials
  Object.assign(configuration.route, { group_wait: '100ms', group_interval: '200ms' })
  return stringify(configuration)
}

/** As Prometheus tells it: what it knows of one alert. */
async function tell(labels: Record<string, string>, times: { startsAt?: string; endsAt?: string }): Promise<void> {
  const alert = { labels, annotations: { summary: 'p99 is above a second' }, generatorURL: 'http://prometheus.example/graph', ...times }
  const answer = await fetch(`${alertmanager.origin}/api/v2/alerts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify([alert]),
  })
  assert.equal(answer.status, 200, await answer.text())
}

/** The alerts of that title, oldest first, once their states are these. */
async function alertsOf(title: string, states: Alert['state'][]): Promise<Alert[]> {
  return until(
    () => `alerts "${title}" that are ${states.join(', ')}: ${alertmanager.said} ${platform.stderr}`,
    async () => {
      const { items } = await platform.get<{ items: Alert[] }>('/alerts?limit=100')
      const named = items.filter((each) => each.title === title).toReversed()
      return named.map(({ state }) => state).join() === states.join() && named
    },
    WAIT_MS,
  )
}

test(
  'an alert opens when Alertmanager says that it fires, and resolves when it says that it is over',
  { skip, timeout: 600_000 },
  async () => {
    const labels = { alertname: 'HighLatency', device: 'pump-1', severity: 'page', job: 'node' }
    const startsAt = new Date(Date.now() - 30_000).toISOString()
    await tell(labels, { startsAt })
    const [open] = await alertsOf('HighLatency: pump-1', ['open'])
    assert.ok(open)
    assert.deepEqual([open.cause, open.severity, open.device, open.startedAt], ['external', 'critical', 'pump-1', Date.parse(startsAt)])
    assert.equal((open.explanation as { text: string }).text, 'p99 is above a second')
    await tell(labels, { startsAt, endsAt: new Date(Date.now() - 1_000).toISOString() })
    const [over] = await alertsOf('HighLatency: pump-1', ['resolved'])
    assert.equal(over?.id, open.id)
  },
)

test('an alert without times and device, as amtool adds it, goes the same way', { skip, timeout: 600_000 }, async () => {
  const labels = { alertname: 'Nameless' }
  await tell(labels, {})
  const [open] = await alertsOf('Nameless', ['open'])
  assert.ok(open)
  assert.deepEqual([open.cause, open.severity, open.device], ['external', 'warning', '_external'])
  await tell(labels, { startsAt: new Date(open.startedAt).toISOString(), endsAt: new Date().toISOString() })
  await alertsOf('Nameless', ['resolved'])
})
