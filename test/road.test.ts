import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import mqtt from 'mqtt'
import { Webhook } from 'standardwebhooks'
import type { Alert } from '../contracts/alert.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * The main job, end to end, in the process users start: a device with a certificate → broker → log → windows → anomaly → store → alert →
 * signed webhook → explanation. Every step is asked for from outside.
 */

const platform = new PlatformProcess({ FLEETPULSE_WEBHOOKS_ALLOW_PRIVATE_TARGETS: 'true', FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'true' })
const received: { headers: Record<string, string>; body: string }[] = []
const receiver = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString()))
  request.on('end', () => {
    received.push({ headers: request.headers as Record<string, string>, body })
    response.end()
  })
})

before(async () => {
  await platform.start()
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
})
after(async () => {
  await platform.remove()
  receiver.closeAllConnections()
  receiver.close()
})

test('a device goes wrong, and the alert says why', async (t) => {
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  const created = await platform.post<{ endpoint: { id: string }; secret: string }>('/webhooks', { url })
  assert.equal(created.status, 201, JSON.stringify(created.body))

  const device = await platform.provision('pump-1')
  const client = await mqtt.connectAsync(`mqtts://localhost:${platform.ready?.mqtts}`, {
    clientId: 'pump-1',
    key: device.key,
    cert: device.cert,
    ca: device.ca,
    protocolVersion: 4,
  })
  t.after(() => client.end(true))
  const random = seededRandom(4)
  const normal = 400
  const startTs = Date.now() - normal * 1_000
  for (let seq = 0; seq < normal; seq++) {
    const payload = { ts: startTs + seq * 1_000, boot: 'b1', seq, values: { pressure: 6 + 0.05 * gaussian(random), running: true } }
    await client.publishAsync('devices/pump-1/telemetry', JSON.stringify(payload), { qos: 1 })
  }
  for (let seq = normal; seq < normal + 5; seq++) {
    await client.publishAsync(
      'devices/pump-1/telemetry',
      JSON.stringify({ ts: startTs + seq * 1_000, boot: 'b1', seq, values: { pressure: 19, running: true } }),
      { qos: 1 },
    )
  }

  const alert = await until('an alert', async () => (await platform.get<{ items: Alert[] }>('/alerts?state=open&device=pump-1')).items[0])
  assert.equal(alert.metric, 'pressure')
  assert.equal(alert.cause, 'value')
  assert.equal(alert.startedAt, startTs + normal * 1_000, 'the start is the event time of the first wrong reading')

  const path = `/anomalies/${encodeURIComponent(alert.firstAnomalyId)}/explanation`
  // An alert does not wait for the store: the readings around it may come a moment later.
  const { explanation } = await until('the explanation with its readings', async () => {
    const answer = await platform.get<{ explanation: Anomaly['explanation']; readings: { ts: number; value: number }[] }>(path)
    return answer.readings.some((reading) => reading.value === 19) && answer
  })
  assert.equal(explanation.observed, 19)
  assert.ok(
    explanation.low !== null && explanation.high !== null && explanation.low < 6 && explanation.high > 6 && explanation.high < 19,
    JSON.stringify(explanation),
  )
  assert.match(explanation.text, /pressure/)
  // It exits with 0: the same score.
  const replayed = JSON.parse(await platform.cli('replay-anomaly', alert.firstAnomalyId, '--json')) as { status: string; readings: number }
  assert.deepEqual([replayed.status, replayed.readings], ['same', normal])

  const summary = await until('the ledger', async () => {
    const sums = await platform.get<Record<string, number>>('/ledger?summary=true')
    return sums.stored === normal + 5 && sums
  })
  assert.deepEqual(summary, { received: 405, acked: 405, stored: 405, rejected: 0, late: 0, duplicate: 0, missing: 0 })
  const newest = await platform.get<{ items: { seq: number; values: Record<string, unknown> }[] }>('/readings?device=pump-1&limit=1')
  assert.deepEqual(newest.items[0]?.values, { pressure: 19, running: true })

  const delivery = await until('the webhook', () => Promise.resolve(received[0]))
  const verified = new Webhook(created.body.secret).verify(delivery.body, delivery.headers) as {
    type: string
    data: { alert?: Alert } & Alert
  }
  assert.equal(verified.type, 'alert.opened')
  assert.ok(delivery.body.includes(alert.correlationId), 'one correlation id from the packet to the webhook')
  const { evidence } = verified.data.alert as Alert
  assert.deepEqual(evidence, alert.evidence, 'the webhook carries the evidence as the API tells it')
  assert.deepEqual(
    evidence.readings.map(({ device, metric, ts, value, topic }) => [device, metric, ts, value, topic]),
    [['pump-1', 'pressure', alert.startedAt, 19, 'readings']],
  )
  assert.equal(evidence.window?.startTs, alert.startedAt)
  assert.equal(typeof evidence.versions.detectorVersion, 'number')
  assert.throws(() => new Webhook(created.body.secret).verify(delivery.body.replace('pressure', 'pressurE'), delivery.headers))

  const acknowledged = await platform.post<Alert>(`/alerts/${alert.id}/ack`, { note: 'on my way' })
  assert.equal(acknowledged.body.state, 'acknowledged')
  assert.equal(acknowledged.body.history[0]?.note, 'on my way')
})

test('what a device may not do is refused, and bad payloads are set aside with their reason', async (t) => {
  const device = await platform.provision('pump-2')
  const options = { clientId: 'pump-2', key: device.key, cert: device.cert, ca: device.ca, protocolVersion: 4 as const, reconnectPeriod: 0 }
  await assert.rejects(mqtt.connectAsync(`mqtts://localhost:${platform.ready?.mqtts}`, { ...options, clientId: 'pump-1' }, false))
  const client = await mqtt.connectAsync(`wss://localhost:${platform.ready?.wss}/mqtt`, options)
  t.after(() => client.end(true))
  assert.equal((await client.subscribeAsync('devices/pump-1/#', { qos: 1 }).catch(() => [{ qos: 128 }]))[0]?.qos, 128)
  await client.publishAsync('devices/pump-2/telemetry', '{"values":', { qos: 1 })
  const { items } = await until('the rejected reading', async () => {
    const page = await platform.get<{ items: { reason: string; device: string }[] }>('/rejected?device=pump-2')
    return page.items.length > 0 && page
  })
  assert.equal(items[0]?.reason, 'undecodable')
  const closed = new Promise((resolve) => client.once('close', () => resolve(true)))
  client.publish('devices/pump-1/telemetry', '{"values":{"pressure":1}}', { qos: 1 })
  assert.equal(await closed, true)
})

test('a revoked certificate ends the live session in under a second and is refused from then on', async (t) => {
  const device = await platform.provision('pump-3')
  const options = { clientId: 'pump-3', key: device.key, cert: device.cert, ca: device.ca, protocolVersion: 4 as const, reconnectPeriod: 0 }
  const client = await mqtt.connectAsync(`mqtts://localhost:${platform.ready?.mqtts}`, options)
  t.after(() => client.end(true))
  const { items } = await platform.get<{ items: { serial: string }[] }>('/certificates?device=pump-3')
  const closed = new Promise<number>((resolve) => client.once('close', () => resolve(performance.now())))
  const startedAt = performance.now()
  const revoked = await platform.post(`/certificates/${items[0]?.serial.toLowerCase()}/revoke`, { reason: 'keyCompromise' })
  assert.equal(revoked.status, 200)
  assert.ok((await closed) - startedAt < 1_000, 'the session ended within a second')
  await assert.rejects(mqtt.connectAsync(`mqtts://localhost:${platform.ready?.mqtts}`, options, false))
})

test('SIGTERM drains and exits 0 within ten seconds; the next start has everything', async () => {
  const before = await platform.get<{ items: Alert[] }>('/alerts')
  const startedAt = performance.now()
  assert.equal(await platform.stop(), 0, platform.stderr)
  assert.ok(performance.now() - startedAt < 10_000)
  await platform.start()
  const after = await platform.get<{ items: Alert[] }>('/alerts')
  assert.deepEqual(
    after.items.map((alert) => alert.id),
    before.items.map((alert) => alert.id),
  )
  assert.equal((await platform.get<Record<string, number>>('/ledger?summary=true')).stored, 405)
})
