import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { request } from 'undici'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import { publicKeyOf } from '../ca/make-pki.ts'
import { openssl, run, skipWithout } from '../testing/openssl.ts'
import { startStation, type Station } from '../testing/station.ts'

const withTools = { skip: skipWithout('openssl') }
let station: Station
before(async () => (station = await startStation()))
after(() => station.stop())

async function get(path: string, headers: Record<string, string> = {}, method: 'GET' | 'HEAD' | 'POST' = 'GET') {
  const response = await request(`http://127.0.0.1:${station.pkiHttp.port}${path}`, { headers, method })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

test('CA certificates as DER', async () => {
  for (const [path, certificate] of [
    ['/ca/root.crt', station.authority.root],
    ['/ca/issuing.crt', station.authority.issuing],
  ] as const) {
    const answer = await get(path)
    assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'application/pkix-cert'])
    assert.equal(new X509Certificate(answer.body).fingerprint256, certificate.fingerprint256)
  }
})

test('a verifier that follows the addresses in a certificate sees its revocation', withTools, async () => {
  const publicKey = publicKeyOf(await newPrivateKeyPem())
  const { pem, serial } = await station.issue({ tenant: 'acme', device: 'd1', publicKey })
  const [leafPath, rootPath] = [join(station.folder, 'leaf.pem'), join(station.folder, 'root.pem')]
  await writeFile(leafPath, pem)
  await writeFile(rootPath, station.authority.root.toString())
  const text = await openssl(['x509', '-in', leafPath, '-noout', '-text'])
  const crlUrl = /URI:(http\S+\/crl\/issuing\.crl)/.exec(text)?.[1]
  const issuerUrl = /CA Issuers - URI:(http\S+)/.exec(text)?.[1]
  assert.ok(crlUrl !== undefined && issuerUrl !== undefined)
  const issuer = Buffer.from(await (await request(issuerUrl)).body.arrayBuffer())
  const issuerPath = join(station.folder, 'issuer.pem')
  await writeFile(issuerPath, new X509Certificate(issuer).toString())
  // -crl_download makes openssl fetch the CRL itself.
  const verify = ['verify', '-crl_check', '-crl_download', '-CAfile', rootPath, '-untrusted', issuerPath, leafPath]
  assert.equal((await run('openssl', verify)).code, 0)
  await station.certificates.revoke('acme', serial, 'keyCompromise')
  assert.match((await run('openssl', verify)).stderr, /certificate revoked/)
})

test('the CRL may be kept while unchanged, and is asked for again each time', async () => {
  const first = await get('/crl/issuing.crl')
  assert.deepEqual([first.status, first.headers['content-type'], first.headers['cache-control']], [200, 'application/pkix-crl', 'no-cache'])
  const etag = String(first.headers['etag'])
  assert.equal((await get('/crl/issuing.crl', { 'if-none-match': etag })).status, 304)
  assert.equal((await get('/crl/issuing.crl', {}, 'HEAD')).status, 200)
  const publicKey = publicKeyOf(await newPrivateKeyPem())
  const { serial } = await station.issue({ tenant: 'acme', device: 'd2', publicKey })
  await station.certificates.revoke('acme', serial, 'unspecified')
  assert.equal((await get('/crl/issuing.crl', { 'if-none-match': etag })).status, 200)
})

test('nothing else is here', async () => {
  assert.equal((await get('/')).status, 404)
  assert.equal((await get('/pki/root.key')).status, 404)
  assert.deepEqual([(await get('/crl/issuing.crl', {}, 'POST')).status], [405])
})

test('the address in certificates', async () => {
  assert.equal(station.pkiHttp.publicUrl, `http://localhost:${station.pkiHttp.port}`)
  const named = await startStation({ serverNames: ['*.example.org', '2001:db8::1'] })
  assert.equal(named.pkiHttp.publicUrl, `http://[2001:db8::1]:${named.pkiHttp.port}`)
  await named.stop()
  const given = await startStation({ pkiUrl: 'http://pki.example.org/x/' })
  assert.equal(given.pkiHttp.publicUrl, 'http://pki.example.org/x')
  await given.stop()
})
