import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Agent, request } from 'undici'
import fc from 'fast-check'
import { enrolDevice, newDeviceRequest, writeDeviceBundle, type DeviceBundle } from './device-bundle.ts'
import { openssl, run, skipWithout } from '../testing/openssl.ts'
import { startStation, TENANT, type Station } from '../testing/station.ts'

const withTools = { skip: skipWithout('curl', 'openssl') }
let station: Station
let agent: Agent

before(async () => {
  station = await startStation()
  agent = new Agent({ connect: { ca: station.authority.caPem } })
})
after(async () => {
  await agent.close()
  await station.stop()
})

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

async function post(operation: string, body: string | Uint8Array, headers: Record<string, string>, dispatcher = agent): Promise<Answer> {
  const url = `${station.origin}/.well-known/est/${operation}`
  const response = await request(url, { method: 'POST', dispatcher, body, headers: { 'content-type': 'application/pkcs10', ...headers } })
  return { status: response.statusCode, headers: response.headers, text: await response.body.text() }
}

function basic(user: string, password: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}` }
}

async function enrolled(deviceId: string): Promise<DeviceBundle> {
  const token = await station.token(deviceId)
  return enrolDevice(deviceId, (csr) => station.estClient().enrol(csr, { deviceId, token }))
}

test('by hand, with curl and openssl: cacerts, csrattrs, simpleenroll, simplereenroll', withTools, async () => {
  const folder = join(station.folder, 'by-hand')
  await mkdir(folder)
  const path = (name: string): string => join(folder, name)
  await writeFile(path('ca.pem'), await readFile(join(station.folder, 'pki/ca.pem')))
  const est = async (operation: string, ...more: string[]): Promise<void> => {
    const head = ['-sS', '--fail-with-body', '--cacert', path('ca.pem'), '-D', path('head'), '-o', path('out')]
    const outcome = await run('curl', [...head, ...more, `${station.origin}/.well-known/est/${operation}`])
    assert.equal(outcome.code, 0, outcome.stderr)
  }
  const certificates = async (): Promise<string> => {
    await openssl(['base64', '-d', '-in', path('out'), '-out', path('out.p7')])
    return openssl(['pkcs7', '-inform', 'DER', '-in', path('out.p7'), '-print_certs'])
  }
  const send = async (operation: string, csr: string, ...more: string[]): Promise<string> => {
    await openssl(['req', '-in', path(csr), '-outform', 'DER', '-out', path('csr.der')])
    await openssl(['base64', '-in', path('csr.der'), '-out', path('csr.b64')])
    const body = [
      '-H',
      'Content-Type: application/pkcs10',
      '-H',
      'Content-Transfer-Encoding: base64',
      '--data-binary',
      `@${path('csr.b64')}`,
    ]
    await est(operation, ...body, ...more)
    return certificates()
  }

  await est('cacerts')
  assert.match(await readFile(path('head'), 'utf8'), /content-type: application\/pkcs7-mime/i)
  assert.equal((await certificates()).match(/BEGIN CERTIFICATE/g)?.length, 2)
  await est('csrattrs')
  assert.match(await readFile(path('head'), 'utf8'), /content-type: application\/csrattrs/i)
  await openssl(['base64', '-d', '-in', path('out'), '-out', path('attributes.der')])
  const attributes = await openssl(['asn1parse', '-inform', 'DER', '-in', path('attributes.der')])
  for (const name of ['id-ecPublicKey', 'prime256v1', 'secp384r1', 'ecdsa-with-SHA256']) assert.match(attributes, new RegExp(name))

  await openssl([
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    path('key1.pem'),
    '-subj',
    '/CN=somebody-else',
    '-out',
    path('csr1.pem'),
  ])
  const token = await station.token('hand-1')
  await writeFile(path('cert1.pem'), await send('simpleenroll', 'csr1.pem', '-u', `hand-1:${token}`))
  const first = new X509Certificate(await readFile(path('cert1.pem')))
  assert.equal(first.subject, 'O=default\nCN=hand-1', 'the token says who it is, not the request')
  await openssl(['verify', '-CAfile', path('ca.pem'), '-purpose', 'sslclient', path('cert1.pem')])

  // No SAN in the request: it comes from the current certificate. RFC 7030 §4.2.2
  await openssl([
    'req',
    '-new',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    path('key2.pem'),
    '-subj',
    '/O=default/CN=hand-1',
    '-out',
    path('csr2.pem'),
  ])
  await writeFile(path('cert2.pem'), await send('simplereenroll', 'csr2.pem', '--cert', path('cert1.pem'), '--key', path('key1.pem')))
  const second = new X509Certificate(await readFile(path('cert2.pem')))
  assert.equal(second.subjectAltName, 'URI:urn:fleetpulse:default:hand-1')
  assert.equal(second.subject, first.subject)
  assert.notEqual(second.serialNumber, first.serialNumber)
  assert.equal(second.checkPrivateKey(createPrivateKey(await readFile(path('key2.pem')))), true)
  await openssl(['verify', '-CAfile', path('ca.pem'), '-purpose', 'sslclient', path('cert2.pem')])
})

test('our own client enrols and renews; the certificates chain and name the device', async () => {
  const bundle = await enrolled('est-1')
  const [leaf, issuer] = bundle.certPem.match(/-----BEGIN[^]+?-----END CERTIFICATE-----\n/g) ?? []
  assert.ok(leaf !== undefined && issuer !== undefined)
  assert.equal(new X509Certificate(leaf).verify(new X509Certificate(issuer).publicKey), true)
  assert.equal(bundle.caPem, station.authority.caPem)
  const renewed = await enrolDevice('est-1', (csr) => station.estClient(bundle).reenrol(csr))
  assert.equal(new X509Certificate(renewed.certPem).subject, 'O=default\nCN=est-1')
  const listed = await station.certificates.list({ tenant: TENANT, device: 'est-1', limit: 10 })
  assert.deepEqual(listed.items.map((record) => record.door).toSorted(), ['est-certificate', 'est-token'])
  assert.equal((await station.registrar.findDevice(TENANT, 'est-1'))?.state, 'provisioned')
})

test('simpleenroll also takes the current certificate', async () => {
  const bundle = await enrolled('est-2')
  const own = new Agent({ connect: { ca: station.authority.caPem, key: bundle.keyPem, cert: bundle.certPem } })
  const { csrPem } = await newDeviceRequest('est-2')
  assert.equal((await post('simpleenroll', csrPem, {}, own)).status, 200)
  await own.close()
})

test('without or with wrong credentials: 401 and what would help', async () => {
  const { csrPem } = await newDeviceRequest('est-3')
  const token = await station.token('est-3')
  const wrong: Record<string, string>[] = [
    {},
    basic('est-3', 'wrong'),
    basic('est-3', ''),
    basic('other', token),
    basic('', token),
    { authorization: `Bearer ${token}` },
    { authorization: 'Basic ???' },
    { authorization: `Basic ${Buffer.from('nocolon').toString('base64')}` },
  ]
  for (const headers of wrong) {
    const answer = await post('simpleenroll', csrPem, headers)
    assert.equal(answer.status, 401, JSON.stringify(headers))
    assert.match(String(answer.headers['www-authenticate']), /^Basic realm=/)
    if (headers.authorization === undefined) assert.equal(answer.text, '', 'a bare challenge')
    else assert.match(String(answer.headers['content-type']), /^text\/plain/)
  }
  assert.equal((await post('simpleenroll', csrPem, basic('est-3', token))).status, 200)
  assert.equal((await post('simpleenroll', csrPem, basic('est-3', token))).status, 401, 'a token works once')
  const reenrol = await post('simplereenroll', csrPem, basic('est-3', await station.token('est-3')))
  assert.equal(reenrol.status, 403, 'a token does not renew')
})

test('a re-enrolment may not name another device', async () => {
  const bundle = await enrolled('est-4')
  await assert.rejects(
    async () => station.estClient(bundle).reenrol((await newDeviceRequest('est-5')).csrPem),
    /\(400\): the request names another identity/,
  )
  assert.equal((await station.certificates.list({ tenant: TENANT, device: 'est-5', limit: 1 })).items.length, 0)
})

test('a revoked certificate and a suspended device are refused', async () => {
  const bundle = await enrolled('est-6')
  const serial = new X509Certificate(bundle.certPem).serialNumber
  station.registrar.setState(TENANT, 'est-6', 'suspended')
  await assert.rejects(
    async () => station.estClient(bundle).reenrol((await newDeviceRequest('est-6')).csrPem),
    /\(403\): the device is suspended/,
  )
  station.registrar.setState(TENANT, 'est-6', 'active')
  await station.certificates.revoke(TENANT, serial, 'keyCompromise')
  await assert.rejects(
    async () => station.estClient(bundle).reenrol((await newDeviceRequest('est-6')).csrPem),
    /\(403\): the certificate is revoked/,
  )
})

test('a device suspended while its certificate is signed does not get it', async () => {
  const token = await station.token('est-7')
  const suspend = station.registrar.markProvisioned.bind(station.registrar)
  station.registrar.markProvisioned = (tenant, device) => {
    if (device === 'est-7') station.registrar.setState(tenant, device, 'suspended')
    return suspend(tenant, device)
  }
  const { csrPem } = await newDeviceRequest('est-7')
  assert.equal((await post('simpleenroll', csrPem, basic('est-7', token))).status, 403)
  const [record] = (await station.certificates.list({ tenant: TENANT, device: 'est-7', limit: 2 })).items
  assert.equal(record?.state, 'revoked')
})

test('weak keys and tampered requests: 400 and the reason in words, and the token still works', async () => {
  const token = await station.token('est-8')
  const { csrPem } = await newDeviceRequest('est-8')
  const tampered = Buffer.from(csrPem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  tampered.write('est-9', tampered.indexOf('est-8'))
  const refused = await post('simpleenroll', tampered.toString('base64'), basic('est-8', token))
  assert.deepEqual([refused.status, refused.text], [400, "the request's signature does not match its public key\n"])
  assert.equal((await post('simpleenroll', csrPem, basic('est-8', token))).status, 200)
})

test('weak RSA keys are refused at the door', withTools, async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const keyPath = join(station.folder, 'weak.pem')
  await writeFile(keyPath, privateKey.export({ format: 'pem', type: 'pkcs8' }))
  const csr = await openssl(['req', '-new', '-key', keyPath, '-subj', '/CN=weak'])
  const answer = await post('simpleenroll', csr, basic('weak', await station.token('weak')))
  assert.deepEqual(
    [answer.status, answer.text],
    [400, 'an RSA key of 1024 bits is not accepted; allowed: ECDSA P-256 or P-384, or RSA of 2048 to 4096 bits\n'],
  )
})

test('wrong media type, too much, wrong method, unknown path', async () => {
  const credentials = basic('est-10', await station.token('est-10'))
  assert.equal((await post('simpleenroll', 'MIIB', { ...credentials, 'content-type': 'application/json' })).status, 415)
  assert.equal((await post('simpleenroll', 'A'.repeat(20_000), credentials)).status, 413)
  assert.equal((await post('simpleenroll', '', credentials)).status, 400)
  const wrongMethod = await post('cacerts', 'x', {})
  assert.deepEqual([wrongMethod.status, wrongMethod.headers['allow']], [405, 'GET, HEAD'])
  assert.equal((await post('serverkeygen', 'x', {})).status, 404)
})

test('random bytes, raw and as base64, are 400 and never 500', async () => {
  const credentials = basic('fuzz', await station.token('fuzz'))
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 500 }), async (bytes) => {
      for (const body of [bytes, Buffer.from(bytes).toString('base64'), Buffer.from(Uint8Array.of(0x30, ...bytes)).toString('base64')]) {
        const answer = await post('simpleenroll', body, credentials)
        assert.equal(answer.status, 400, answer.text)
      }
    }),
    { numRuns: 100 },
  )
})

test('the bundle on disk is for the device alone', async () => {
  const folder = join(station.folder, 'bundles', 'est-11')
  await writeDeviceBundle(folder, await enrolled('est-11'))
  assert.equal((await stat(folder)).mode & 0o777, 0o700)
  assert.equal((await stat(join(folder, 'key.pem'))).mode & 0o777, 0o600)
  for (const name of ['cert.pem', 'ca.pem'])
    assert.match(await readFile(join(folder, name), 'utf8'), /^(-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----\n){2}$/)
})
