import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import mqtt, { type MqttClient } from 'mqtt'
import { run, skipWithout } from '../provisioning/testing/openssl.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * Revocation in the process users start, asked for and looked at from outside: live sessions of every listener, CRL, OCSP, stapling and the
 * metrics.
 */

type Device = Awaited<ReturnType<PlatformProcess['provision']>>

const withoutOpenssl = { skip: skipWithout('openssl') }
const platform = new PlatformProcess()
const clients: { end(force: boolean): unknown }[] = []

before(() => platform.start())
after(async () => {
  for (const client of clients) client.end(true)
  await platform.remove()
})

async function connected(id: string, device: Device, listener: 'mqtts' | 'wss'): Promise<MqttClient> {
  const { key, cert, ca } = device
  const url = listener === 'mqtts' ? `mqtts://localhost:${platform.ready?.mqtts}` : `wss://localhost:${platform.ready?.wss}/mqtt`
  const client = await mqtt.connectAsync(url, { clientId: id, key, cert, ca, protocolVersion: 4, reconnectPeriod: 0 }, false)
  clients.push(client)
  return client
}

/** A keep-alive HTTPS connection that has had an answer. */
async function keptAlive({ key, cert, ca }: Device): Promise<TLSSocket> {
  const socket = connectTls({ port: platform.ready?.https ?? 0, host: 'localhost', servername: 'localhost', key, cert, ca })
  clients.push({ end: () => socket.destroy() })
  socket.on('error', () => socket.destroy())
  await once(socket, 'secureConnect')
  socket.write('GET /.well-known/est/csrattrs HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await once(socket, 'data')
  return socket
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`${platform.api}/metrics`)).text()
  const counts = [...text.matchAll(new RegExp(`^fleetpulse_${name}_count(?:\\{[^}]*\\})? (\\d+)`, 'gm'))]
  return counts.reduce((sum, [, count]) => sum + Number(count), 0)
}

test('one call ends the sessions of every listener within a second, and nobody else’s', async () => {
  const [device, other] = [await platform.provision('all-doors'), await platform.provision('bystander')]
  // MQTT knows one session a device: two devices for two listeners.
  const second = await platform.provision('all-doors-2')
  const bystanders = [await connected('bystander', other, 'wss'), await keptAlive(other)]
  let disturbed = 0
  for (const bystander of bystanders) (bystander as NodeJS.EventEmitter).on('close', () => disturbed++)
  const sessions = [
    { of: device, session: await connected('all-doors', device, 'mqtts') },
    { of: device, session: await keptAlive(device) },
    { of: second, session: await connected('all-doors-2', second, 'wss') },
    { of: second, session: await keptAlive(second) },
  ]
  const closed = sessions.map(
    ({ session }) => new Promise<number>((resolve) => (session as NodeJS.EventEmitter).once('close', () => resolve(performance.now()))),
  )
  for (const one of [device, second]) {
    const startedAt = performance.now()
    const serial = new X509Certificate(one.cert).serialNumber
    const { status } = await platform.post(`/certificates/${serial}/revoke`, { reason: 'keyCompromise' })
    assert.equal(status, 200)
    const mine = closed.filter((_, i) => sessions[i]?.of === one)
    for (const closedAt of await Promise.all(mine)) assert.ok(closedAt - startedAt < 1_000, `${closedAt - startedAt} ms`)
  }
  await until('the broker’s times', async () => (await metric('broker_revocation_seconds')) === 2)
  await until('the times of HTTPS', async () => (await metric('provisioning_revocation_seconds')) === 2)
  assert.equal(disturbed, 0)
  const [mqttBystander] = bystanders as [MqttClient]
  await mqttBystander.publishAsync('devices/bystander/telemetry', '{"values":{"t":1}}', { qos: 1 })
})

test('openssl: OCSP and CRL tell it by the addresses in the certificate, and every listener staples', withoutOpenssl, async () => {
  const device = await platform.provision('told')
  const at = (name: string): string => join(device.folder, name)
  const certificate = new X509Certificate(device.cert)
  const addresses = certificate.infoAccess ?? ''
  const ocsp = /OCSP - URI:(\S+)/.exec(addresses)?.[1] ?? assert.fail(addresses)
  const issuer = /CA Issuers - URI:(\S+)/.exec(addresses)?.[1] ?? assert.fail(addresses)
  writeFileSync(at('issuer.pem'), new X509Certificate(Buffer.from(await (await fetch(issuer)).arrayBuffer())).toString())
  const ask = ['ocsp', '-issuer', at('issuer.pem'), '-cert', at('cert.pem'), '-CAfile', at('ca.pem'), '-url', ocsp]
  assert.match((await run('openssl', ask)).stdout, /: good/)
  const verify = ['verify', '-crl_check', '-crl_download', '-CAfile', at('ca.pem'), at('cert.pem')]
  assert.equal((await run('openssl', verify)).code, 0)
  await platform.post(`/certificates/${certificate.serialNumber}/revoke`, { reason: 'keyCompromise' })
  assert.match((await run('openssl', ask)).stdout, /: revoked\s[^]*Reason: keyCompromise/)
  assert.match((await run('openssl', verify)).stderr, /certificate revoked/)
  const { mqtts, wss, https } = platform.ready ?? assert.fail()
  for (const port of [mqtts, wss, https]) {
    const client = [
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
    await until(`the staple on port ${port}`, async () => {
      const { stdout } = await run('openssl', client, 'Q')
      return /OCSP Response Status: successful[^]*Cert Status: good/.test(stdout)
    })
  }
})
