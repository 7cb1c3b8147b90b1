import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import mqtt, { type MqttClient } from 'mqtt'
import { newId } from '../../kernel/ids.ts'
import { systemClock } from '../../kernel/time.ts'
import type { DeviceBundle } from '../../provisioning/doors/device-bundle.ts'
import { run, skipWithout } from '../../provisioning/testing/openssl.ts'
import { Cluster, type Member } from '../testing/cluster.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/* Revocation over several edges in processes of their own: who is revoked goes, wherever it is; who is not stays; each edge times it and staples. */

const DEVICES = 24
const REVOKED = 8
const cluster = new Cluster(
  {
    kafka: serverAddress('kafka'),
    questdbHttp: serverAddress('questdbHttp'),
    questdbPg: serverAddress('questdbPg'),
    mongodb: serverAddress('mongodb'),
  },
  `t${newId(systemClock.nowMs()).replaceAll('-', '').slice(-10).toLowerCase()}`,
)
let edges: Member[] = []
const fleet: { id: string; bundle: DeviceBundle; client: MqttClient; closedAt?: number }[] = []

before(async () => {
  await cluster.add('registry', 'registry')
  await cluster.add('dashboard', 'dashboard')
  edges = await Promise.all([cluster.add('edge-1', 'edge'), cluster.add('edge-2', 'edge')])
  for (let i = 0; i < DEVICES; i++) {
    const id = `pump-${i}`
    const bundle = await cluster.enrol(id, 'generic')
    const { keyPem: key, certPem: cert, caPem: ca } = bundle
    const port = edges[i % edges.length]?.process.ready?.mqtts
    const options = { clientId: id, key, cert, ca, clean: false, reconnectPeriod: 0, protocolVersion: 4 as const }
    const device: (typeof fleet)[number] = { id, bundle, client: await mqtt.connectAsync(`mqtts://localhost:${port}`, options, false) }
    device.client.on('close', () => (device.closedAt = performance.now()))
    fleet.push(device)
  }
})
after(async () => {
  for (const { client } of fleet) client.end(true)
  await cluster.remove()
})

function operationsOf({ process }: Member): string {
  return (process.ready as { operations?: string } | undefined)?.operations ?? process.api
}

async function observed(member: Member): Promise<number> {
  const text = await (await fetch(`${operationsOf(member)}/metrics`)).text()
  const counts = text.matchAll(/^fleetpulse_broker_revocation_seconds_count(?:\{[^}]*\})? (\d+)/gm)
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0)
}

test('the revoked are gone within a second on either edge, each is timed where it was, and nobody else notices', async (t) => {
  const { process } = cluster.with('dashboard')
  const took: number[] = []
  for (const device of fleet.slice(0, REVOKED)) {
    const startedAt = performance.now()
    const { serialNumber } = new X509Certificate(device.bundle.certPem)
    assert.equal((await process.post(`/certificates/${serialNumber}/revoke`, { reason: 'keyCompromise' })).status, 200)
    await until(`${device.id} to be gone`, () => Promise.resolve(device.closedAt))
    took.push((device.closedAt ?? Infinity) - startedAt)
  }
  t.diagnostic(`from the call to the close: ${took.map((ms) => Math.round(ms)).join(', ')} ms`)
  assert.ok(
    took.every((ms) => ms < 1_000),
    took.join(),
  )
  const perEdge = await until('both edges to have timed them', async () => {
    const counts = await Promise.all(edges.map(observed))
    return counts.reduce((sum, count) => sum + count, 0) === REVOKED && counts
  })
  assert.deepEqual(perEdge, [REVOKED / 2, REVOKED / 2])
  for (const { id, client, closedAt } of fleet.slice(REVOKED)) {
    assert.equal(closedAt, undefined, id)
    await client.publishAsync(`devices/${id}/telemetry`, '{"values":{"t":1}}', { qos: 1 })
  }
})

test('every edge staples what the registry’s process made for it', { skip: skipWithout('openssl') }, async () => {
  const { keyPem, certPem, caPem } = fleet.at(-1)?.bundle ?? assert.fail()
  const { folder } = cluster.with('dashboard').process
  const at = (name: string): string => join(folder, name)
  writeFileSync(at('key.pem'), keyPem)
  writeFileSync(at('cert.pem'), certPem)
  writeFileSync(at('ca.pem'), caPem)
  for (const { name, process } of edges) {
    for (const port of [process.ready?.mqtts, process.ready?.wss]) {
      const args = [
        's_client',
        '-connect',
        `localhost:${port}`,
        '-status',
        '-CAfile',
        at('ca.pem'),
        '-cert',
        at('cert.pem'),
        '-key',
        at('key.pem'),
      ]
      await until(`the staple of ${name} on ${port}`, async () => {
        const { stdout } = await run('openssl', args, 'Q')
        return /OCSP Response Status: successful[^]*Cert Status: good/.test(stdout)
      })
    }
  }
})
