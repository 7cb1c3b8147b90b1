import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import mqtt, { type MqttClient } from 'mqtt'
import type { Alert } from '../contracts/alert.ts'
import type { PreviewResult } from '../processing/rules/rule-preview.ts'
import type { RuleView } from '../processing/rules/rules-service.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * Threshold rules in the process users start: set by the API, judged on the road, told as alerts with their evidence; through a kill -9, a
 * correction of a window by late data, and the rule's own end.
 */

const platform = new PlatformProcess({
  FLEETPULSE_RULES_REFRESH_MS: '100',
  FLEETPULSE_RULES_ACTIVATION_MS: '200',
  FLEETPULSE_WINDOWS_WINDOWS: '[{"kind":"tumbling","sizeMs":1000,"slideMs":1000}]',
  FLEETPULSE_WINDOWS_OUT_OF_ORDERNESS_MS: '0',
  FLEETPULSE_ALERTS_RESOLVE_QUIET_MS: '0',
})
before(() => platform.start())
after(() => platform.remove())

const T = Math.floor(Date.now() / 1_000) * 1_000 - 60_000

test('a rule opens an alert with its evidence, and takes it back when its window or the rule itself is gone', async () => {
  const file = join(platform.folder, 'rules.json')
  const limits = { name: 'too high', metric: 'pressure', is: 'above', raise: 80, clear: 70, severity: 'critical', remedy: 'Open valve 3.' }
  const onMean = { kind: 'windows', window: 'tumbling', sizeMs: 1_000, aggregate: 'mean' }
  const average = { name: 'high on average', metric: 'pressure', is: 'above', raise: 60, severity: 'warning', on: onMean }
  const apply = async (rules: object[], ...options: string[]): Promise<unknown> => {
    writeFileSync(file, JSON.stringify(rules))
    return JSON.parse(await platform.cli('rules', 'apply', file, '--json', ...options))
  }
  assert.deepEqual(await apply([limits, average]), [
    { status: 'created', name: 'too high' },
    { status: 'created', name: 'high on average' },
  ])
  const { items: made } = await platform.get<{ items: RuleView[] }>('/rules')
  const [onReadings, onWindows] = ['too high', 'high on average'].map((name) => made.find((rule) => rule.name === name))
  assert.ok(onReadings !== undefined && onWindows !== undefined)
  await until('they are in force', () => Promise.resolve(Date.now() > onWindows.activeFrom + 100))

  const device = await platform.provision('pump-1')
  let client = await connect(device)
  let seq = 0
  const send = (ts: number, pressure: number): Promise<unknown> =>
    client.publishAsync('devices/pump-1/telemetry', JSON.stringify({ ts, boot: 'b', seq: seq++, values: { pressure } }), { qos: 1 })
  await send(T, 20)
  await send(T + 1_000, 20)
  await send(T + 2_100, 90)
  await send(T + 3_000, 75)
  await platform.kill()
  await client.endAsync(true)
  await platform.start()

  const alertsOf = async (rule: RuleView): Promise<Alert[]> =>
    (await platform.get<{ items: Alert[] }>('/alerts?device=pump-1')).items.filter((alert) => alert.rule?.id === rule.id)
  const opened = await until('the alert of the readings', async () => (await alertsOf(onReadings))[0])
  assert.deepEqual([opened.state, opened.severity, opened.cause, opened.startedAt], ['open', 'critical', 'rule', T + 2_100])
  assert.equal(opened.rule?.remedy, 'Open valve 3.')
  assert.deepEqual(
    opened.evidence.readings.map(({ ts, value, topic, offset }) => [ts, value, topic, typeof offset]),
    [[T + 2_100, 90, 'readings', 'number']],
  )
  assert.deepEqual(opened.evidence.versions, { detector: 'rule', detectorVersion: 1, rule: onReadings.id, ruleVersion: 1 })
  const { explanation } = await platform.get<{ explanation: { text: string } }>(`/anomalies/${opened.firstAnomalyId}/explanation`)
  assert.equal(explanation.text, 'pressure is 90, above 80')

  const windowed = await until('the alert of the windows', async () => (await alertsOf(onWindows))[0])
  const { startTs, revision, aggregate, value } = windowed.evidence.window ?? {}
  assert.deepEqual([windowed.state, startTs, revision, aggregate, value], ['open', T + 2_000, 1, 'mean', 90])

  client = await connect(device)
  await send(T + 2_500, 10)
  const [corrected] = await until('the correction', async () => {
    const alerts = await alertsOf(onWindows)
    return alerts[0]?.state === 'resolved' && alerts
  })
  assert.deepEqual([corrected?.evidence.window?.revision, corrected?.evidence.window?.value], [2, 50])
  assert.match(corrected?.history[0]?.note ?? '', /^retracted: mean of pressure in 1 s is 50 after a correction/)

  const [tried] = JSON.parse(await platform.cli('rules', 'preview', file, '--from', String(T), '--json')) as PreviewResult[]
  assert.deepEqual([tried?.count, tried?.devicesFired, tried?.fired[0]?.at], [1, 1, T + 2_100])
  assert.deepEqual(await apply([average], '--prune'), [
    { status: 'unchanged', name: 'high on average' },
    { status: 'removed', name: 'too high' },
  ])
  const over = await until('the end of the rule', async () => {
    const alerts = await alertsOf(onReadings)
    return alerts.every(({ state }) => state === 'resolved') && alerts
  })
  assert.equal(over.length, 1, 'one alert, through the kill and all')
  await client.endAsync()
})

async function connect({ key, cert, ca }: Awaited<ReturnType<PlatformProcess['provision']>>): Promise<MqttClient> {
  return mqtt.connectAsync(`mqtts://localhost:${platform.ready?.mqtts}`, { clientId: 'pump-1', key, cert, ca, protocolVersion: 4 })
}
