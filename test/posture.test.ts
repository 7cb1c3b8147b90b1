import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import mqtt from 'mqtt'
import type { Alert } from '../contracts/alert.ts'
import type { AuditEntry } from '../contracts/audit.ts'
import type { Finding } from '../contracts/finding.ts'
import { systemClock } from '../kernel/time.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/* The security check of a platform as people run it: a device whose certificate was revoked goes on trying to come in. */

const platform = new PlatformProcess({ FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'true', FLEETPULSE_ALERTS_RESOLVE_QUIET_MS: '0' })
before(() => platform.start(), { timeout: 300_000 })
after(() => platform.remove())

interface Page<T> {
  items: T[]
}

test('a revoked certificate that is still shown becomes a finding, an alert and an audited decision', { timeout: 300_000 }, async () => {
  const { key, cert, ca } = await platform.provision('pump-1')
  const [certificate] = (await platform.get<Page<{ serial: string }>>('/certificates?device=pump-1')).items
  await platform.post(`/certificates/${certificate?.serial}/revoke`, { reason: 'keyCompromise' })
  const refused = mqtt.connect(`mqtts://localhost:${platform.ready?.mqtts}`, {
    clientId: 'pump-1',
    key,
    cert,
    ca,
    protocolVersion: 4,
    reconnectPeriod: 200,
  })
  refused.on('error', () => undefined)
  const finding = await until('the finding', async () => {
    await platform.post('/findings/check', {})
    const { items } = await platform.get<Page<Finding>>('/findings?state=open&device=pump-1')
    return items[0] ?? false
  })
  await refused.endAsync(true)
  assert.deepEqual([finding.check, finding.severity], ['revoked-seen', 'high'])
  assert.match(String(finding.evidence.address), /127\.0\.0\.1$/)
  assert.deepEqual(await platform.get('/findings/score?device=pump-1'), { device: 'pump-1', score: 70 })
  const fleet = await platform.get<{ score: number; counts: object }>('/findings/score')
  // One device of 70, and the setting that lets webhooks go without TLS.
  assert.deepEqual([fleet.score, fleet.counts], [55, { critical: 0, high: 1, medium: 1, low: 0 }])
  const alert = await until('its alert', async () => (await platform.get<Page<Alert>>('/alerts?device=pump-1')).items[0] ?? false)
  assert.deepEqual([alert.cause, alert.state, alert.title], ['security', 'open', 'security finding: revoked-seen of pump-1'])

  const untilMs = systemClock.nowMs() + 86_400_000
  await platform.post(`/findings/${finding.id}/suppress`, { until: untilMs, why: 'being replaced' })
  await until('the alert to resolve', async () => (await platform.get<Alert>(`/alerts/${alert.id}`)).state === 'resolved')
  const { items } = await platform.get<Page<AuditEntry>>('/audit?action=finding.suppress')
  assert.deepEqual(
    [items[0]?.device, items[0]?.why, (items[0]?.after as { suppressedUntil: number }).suppressedUntil],
    ['pump-1', 'being replaced', untilMs],
  )
  const metrics = await (await fetch(`${platform.api}/metrics`)).text()
  assert.match(metrics, /^fleetpulse_provisioning_posture_score 55$/m)
})
