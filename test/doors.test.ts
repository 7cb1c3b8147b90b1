import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import mqtt from 'mqtt'
import { attempt, Factory, request, run } from './testing/factory.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/* The doors to the whole platform, from outside: openssl makes the keys, curl and mosquitto are the devices. */

const missing = ['openssl', 'curl', 'mosquitto_pub', 'mosquitto_sub'].filter(
  (program) => spawnSync(program, ['version']).error !== undefined,
)
if (missing.length > 0) console.warn(`SKIPPED: the doors were not tested from outside, there is no ${missing.join(' and no ')}`)
const skip = missing.length > 0 && process.env.FLEETPULSE_REQUIRE_TOOLS !== '1' ? `there is no ${missing.join(' and no ')}` : false

interface Issued {
  status: string
  certificate: string
  ca: string
  device: string
  reason: string
  detail: string
}
interface Device {
  state: string
  type: string
  labels: Record<string, string>
}

const platform = new PlatformProcess({ FLEETPULSE_ENROLMENT_SERVER_KEYGEN_TYPES: 'dumb' })
let folder = ''
let ca = ''

before(async () => {
  if (skip !== false) return
  await platform.start()
  folder = join(platform.folder, 'outside')
  mkdirSync(folder)
  ca = join(platform.data, 'pki', 'ca.pem')
  for (const id of ['pump', 'dumb']) {
    const type = { id, open: true, metrics: {}, silenceAfterMs: null, futureToleranceMs: 600_000, earliestTs: 0 }
    assert.equal((await platform.post('/device-types', type)).status, 201)
  }
})
after(() => platform.remove())

const mqtts = (): string => String(platform.ready?.mqtts)
const est = (operation: string): string => `https://localhost:${platform.ready?.https}/.well-known/est/${operation}`
const identity = (cert: string, key: string): string[] => ['--cafile', ca, '--cert', cert, '--key', key]
const device = (id: string): Promise<Device> => platform.get<Device>(`/devices/${id}`)

function publishTelemetry(id: string, cert: string, key: string): Promise<{ ok: boolean; text: string }> {
  const message = ['-i', id, '-q', '1', '-t', `devices/${id}/telemetry`, '-m', '{"values":{"t":1}}']
  return attempt('mosquitto_pub', ['-h', 'localhost', '-p', mqtts(), ...identity(cert, key), ...message], 15_000)
}

/** Claims: a batch certificate, made by the CLI. */
async function newClaim(id: string, ...more: string[]): Promise<{ cert: string; key: string }> {
  const out = join(folder, `claim-${id}`)
  await platform.cli('provision', 'claim', id, '--out', out, ...more)
  return { cert: join(out, 'cert.pem'), key: join(out, 'key.pem') }
}

/** One request by mosquitto_sub and mosquitto_pub on one claim, as a device in the factory does it. */
async function claimCertificate(claim: { cert: string; key: string }, id: string, csr: string): Promise<Issued> {
  const message = JSON.stringify({ device: id, csr: readFileSync(csr, 'utf8') })
  // One connection asks and hears the answer: the topics of two connections never meet.
  const args = ['-V', '311', '-h', 'localhost', '-p', mqtts(), ...identity(claim.cert, claim.key), '-i', `line-${id}`, '-W', '15']
  const text = await run('mosquitto_rr', [
    ...args,
    '-q',
    '1',
    '-t',
    `provisioning/${id}/request`,
    '-e',
    `provisioning/${id}/response`,
    '-m',
    message,
  ])
  return JSON.parse(text) as Issued
}

test('claim: CSR in, certificate out, by mosquitto and openssl; counted, bound to its topics, revoked at once', { skip }, async () => {
  const claim = await newClaim('line-7', '--type', 'pump', '--devices', 'p7-*', '--devices-max', '2', '--label', 'line=7')
  const first = await request(folder, 'p7-1', '/CN=p7-1')
  const answer = await claimCertificate(claim, 'p7-1', first.csr)
  assert.equal(answer.status, 'issued', JSON.stringify(answer))
  const cert = join(folder, 'p7-1.pem')
  writeFileSync(cert, answer.certificate)
  await run('openssl', ['verify', '-CAfile', ca, '-purpose', 'sslclient', cert])
  const leaf = new X509Certificate(answer.certificate)
  assert.equal(leaf.subjectAltName, 'URI:urn:fleetpulse:default:p7-1')
  assert.ok(leaf.checkPrivateKey(createPrivateKey(readFileSync(first.key))))
  const made = await device('p7-1')
  assert.deepEqual([made.state, made.type, made.labels], ['provisioned', 'pump', { line: '7' }])
  assert.ok((await publishTelemetry('p7-1', cert, first.key)).ok)
  await until('the device to be active', async () => (await device('p7-1')).state === 'active')

  // The same request again: the answer was lost, and costs nothing.
  assert.equal((await claimCertificate(claim, 'p7-1', first.csr)).certificate, answer.certificate)
  const stolen = await request(folder, 'p7-1-stolen', '/CN=p7-1')
  assert.match((await claimCertificate(claim, 'p7-1', stolen.csr)).detail, /first certificates/)
  assert.match((await claimCertificate(claim, 'other-1', first.csr)).detail, /not for a device of this name/)
  const second = await request(folder, 'p7-2', '/CN=whoever')
  assert.equal((await claimCertificate(claim, 'p7-2', second.csr)).status, 'issued')
  const third = await request(folder, 'p7-3', '/CN=p7-3')
  assert.equal((await claimCertificate(claim, 'p7-3', third.csr)).reason, 'exhausted')

  // A claim is no device: not on its topics, and not under its name.
  for (const id of ['p7-1', 'line-7', 'claim:line-7']) assert.equal((await publishTelemetry(id, claim.cert, claim.key)).ok, false, id)
  const foreign = await attempt('mosquitto_sub', [
    '-h',
    'localhost',
    '-p',
    mqtts(),
    ...identity(claim.cert, claim.key),
    '-i',
    'x',
    '-W',
    '3',
    '-t',
    'devices/#',
    '-t',
    '#',
  ])
  assert.match(foreign.text, /denied|rejected|not allowed/i)
  const viaHttps = await attempt('curl', [
    '-sS',
    '--cacert',
    ca,
    '--cert',
    claim.cert,
    '--key',
    claim.key,
    '-X',
    'POST',
    '-H',
    'content-type: application/pkcs10',
    est('simpleenroll'),
  ])
  assert.match(viaHttps.text, /a claim certificate is for the provisioning topics/)

  const waiting = mqtt.connect(`mqtts://localhost:${mqtts()}`, {
    ...{ clientId: 'w', ca: readFileSync(ca), cert: readFileSync(claim.cert), key: readFileSync(claim.key) },
    reconnectPeriod: 0,
  })
  await new Promise<void>((resolve) => waiting.once('connect', () => resolve()))
  const cut = new Promise<void>((resolve) => waiting.once('close', () => resolve()))
  const revokedAt = performance.now()
  assert.equal((await platform.post('/claims/line-7/revoke', {})).status, 200)
  await cut
  const tookMs = performance.now() - revokedAt
  assert.ok(tookMs < 1_000, `${tookMs} ms`)
  assert.equal(
    (
      await attempt('mosquitto_rr', [
        '-V',
        '311',
        '-h',
        'localhost',
        '-p',
        mqtts(),
        ...identity(claim.cert, claim.key),
        '-W',
        '3',
        '-t',
        'provisioning/a/request',
        '-e',
        'provisioning/a/response',
        '-m',
        '{}',
      ])
    ).ok,
    false,
  )
  assert.ok((await publishTelemetry('p7-1', cert, first.key)).ok, 'devices that came in stay')
})

async function register(factory: Factory, id: string, template: object): Promise<void> {
  const { code } = (await platform.post<{ code: string }>('/factory-authorities/codes', {})).body
  const proof = await factory.certificate(`proof-${id}`, `/CN=${code}`)
  const body = { id, certificate: factory.caPem, code, proof: readFileSync(proof.cert, 'utf8'), template }
  const registered = await platform.post('/factory-authorities', body)
  assert.equal(registered.status, 201, JSON.stringify(registered.body))
}

test(
  'just in time: a factory certificate is admitted at its first connection, by MQTT and by EST; removing its CA ends it all',
  { skip },
  async () => {
    const factory = await Factory.open(join(folder, 'maker'))
    const early = await factory.certificate('early', '/O=Maker/CN=SN-early')
    assert.equal((await publishTelemetry('jit-early', early.cert, early.key)).ok, false, 'an unknown CA')
    await register(factory, 'maker', {
      type: 'pump',
      subjectPattern: 'SN-{id}',
      deviceId: 'jit-{id}',
      labels: { serial: '{id}', maker: '{O}' },
    })

    // Listeners trust it without a restart.
    await until('the listeners to trust the CA', async () => (await publishTelemetry('jit-early', early.cert, early.key)).ok)
    const admitted = await until('it to be active', async () => {
      const found = await device('jit-early')
      return found.state === 'active' && found
    })
    assert.deepEqual([admitted.type, admitted.labels], ['pump', { serial: 'early', maker: 'Maker' }])
    const { items } = await platform.get<{ items: { door: string; serial: string; foreignSerial?: string }[] }>(
      '/certificates?device=jit-early',
    )
    assert.deepEqual(
      items.map(({ door }) => door),
      ['just-in-time'],
    )

    // What the certificate says of itself counts for nothing.
    const posing = await factory.certificate('posing', '/O=Maker/CN=SN-posing', {
      extensions: 'subjectAltName=URI:urn:fleetpulse:default:p7-1\n',
    })
    assert.equal((await publishTelemetry('p7-1', posing.cert, posing.key)).ok, false)
    const wrongName = await factory.certificate('wrong', '/O=Maker/CN=other-early')
    assert.equal((await publishTelemetry('jit-early', wrongName.cert, wrongName.key)).ok, false)
    const twin = await factory.certificate('twin', '/O=Maker/CN=SN-early')
    assert.equal((await publishTelemetry('jit-early', twin.cert, twin.key)).ok, false, 'a second certificate for the same device')

    // EST: the factory certificate gets the device its operational one.
    const byEst = await factory.certificate('est', '/O=Maker/CN=SN-est')
    const own = await request(folder, 'jit-est', '/CN=jit-est')
    const operational = await estEnrol('simpleenroll', own.csr, '--cert', byEst.cert, '--key', byEst.key)
    assert.match(
      await run('openssl', ['x509', '-in', operational, '-noout', '-subject', '-ext', 'subjectAltName']),
      /urn:fleetpulse:default:jit-est/,
    )
    assert.ok((await publishTelemetry('jit-est', operational, own.key)).ok)

    const stranger = await Factory.open(join(folder, 'stranger'))
    const forged = await stranger.certificate('forged', '/O=Maker/CN=SN-forged')
    assert.equal((await publishTelemetry('jit-forged', forged.cert, forged.key)).ok, false)
    const expired = await factory.certificate('expired', '/O=Maker/CN=SN-expired', { days: -1 })
    assert.equal((await publishTelemetry('jit-expired', expired.cert, expired.key)).ok, false)

    const removed = await fetch(`${platform.api}/api/v1/factory-authorities/maker`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${platform.token}` },
    })
    assert.equal(removed.status, 200)
    assert.deepEqual(await removed.json(), { revokedCertificates: 3 })
    assert.equal((await publishTelemetry('jit-early', early.cert, early.key)).ok, false)
    assert.equal((await publishTelemetry('jit-est', operational, own.key)).ok, false, 'what came from it ends too')
  },
)

/** One request to EST by curl; answers the path of the certificate. */
async function estEnrol(operation: string, csr: string, ...more: string[]): Promise<string> {
  const [der, answer, pem] = [`${csr}.b64`, `${csr}.p7`, `${csr}.pem`]
  await run('openssl', ['req', '-in', csr, '-outform', 'DER', '-out', `${csr}.der`])
  await run('openssl', ['base64', '-in', `${csr}.der`, '-out', der])
  const headers = ['-H', 'Content-Type: application/pkcs10', '-H', 'Content-Transfer-Encoding: base64']
  await run('curl', [
    '-sS',
    '--fail-with-body',
    '--cacert',
    ca,
    ...headers,
    '--data-binary',
    `@${der}`,
    ...more,
    '-o',
    answer,
    est(operation),
  ])
  await run('openssl', ['base64', '-d', '-in', answer, '-out', `${answer}.der`])
  await run('openssl', ['pkcs7', '-inform', 'DER', '-in', `${answer}.der`, '-print_certs', '-out', pem])
  return pem
}

test('serverkeygen: for the types that were chosen for it, the key with its certificate, and no copy of it', { skip }, async () => {
  const asking = async (id: string, type: string): Promise<{ ok: boolean; text: string }> => {
    const { token } = (await platform.post<{ token: string }>('/enrolment-tokens', { deviceId: id, type })).body
    const { csr } = await request(folder, `keygen-${id}`, `/CN=${id}`)
    const base64 = readFileSync(csr, 'utf8').replace(/-----[^-]+-----/g, '')
    return attempt('curl', [
      '-sS',
      '-i',
      '--cacert',
      ca,
      '-u',
      `${id}:${token}`,
      '-H',
      'Content-Type: application/pkcs10',
      '--data-binary',
      base64,
      est('serverkeygen'),
    ])
  }
  assert.match((await asking('smart-1', 'pump')).text, /403[^]*keys of devices of type pump are not made here/)
  const { text } = await asking('dumb-1', 'dumb')
  const boundary = /content-type: multipart\/mixed; boundary=(\S+)/i.exec(text)?.[1]
  assert.ok(boundary !== undefined, text)
  const [, keyPart = '', certificatePart = ''] = text.split(`--${boundary}`)
  assert.match(keyPart, /^\r\nContent-Type: application\/pkcs8\r\nContent-Transfer-Encoding: base64\r\n\r\n/)
  const bodyOf = (part: string): Buffer => Buffer.from(part.slice(part.indexOf('\r\n\r\n')), 'base64')
  const [keyFile, p7File] = [join(folder, 'dumb.key.der'), join(folder, 'dumb.p7')]
  writeFileSync(keyFile, bodyOf(keyPart))
  writeFileSync(p7File, bodyOf(certificatePart))
  const pem = await run('openssl', ['pkcs7', '-inform', 'DER', '-in', p7File, '-print_certs'])
  const keyPem = await run('openssl', ['pkey', '-inform', 'DER', '-in', keyFile])
  assert.ok(new X509Certificate(pem.slice(pem.indexOf('-----BEGIN'))).checkPrivateKey(createPrivateKey(keyPem)))
  writeFileSync(join(folder, 'dumb.key'), keyPem)
  writeFileSync(join(folder, 'dumb.pem'), pem)
  assert.ok((await publishTelemetry('dumb-1', join(folder, 'dumb.pem'), join(folder, 'dumb.key'))).ok)
  // Nowhere on disk, in any spelling.
  const secret = bodyOf(keyPart).subarray(36, 68)
  for (const needle of [secret.toString('base64').slice(0, 30), secret.toString('hex')]) {
    assert.equal((await attempt('grep', ['-rl', needle, platform.data])).text, '')
    assert.ok(!platform.stderr.includes(needle))
  }
})

test('a tombstone: no door brings a decommissioned device back, by mistake or otherwise', { skip }, async () => {
  const id = 'gone-1'
  assert.equal((await platform.post('/devices', { id, type: 'pump', labels: {} })).status, 201)
  const before = await platform.post<{ token: string }>('/enrolment-tokens', { deviceId: id })
  assert.equal((await platform.post(`/devices/${id}/decommission`, { why: 'scrapped' })).status, 202)
  await until('its tombstone', async () => (await device(id)).state === 'decommissioned')

  const own = await request(folder, id, `/CN=${id}`)
  const claim = await newClaim('line-gone', '--type', 'pump', '--devices', 'gone-*', '--devices-max', '5')
  const answer = await claimCertificate(claim, id, own.csr)
  assert.deepEqual([answer.status, answer.reason], ['refused', 'device-refused'], JSON.stringify(answer))
  assert.match(answer.detail, /decommissioned/)

  const factory = await Factory.open(join(folder, 'gone-maker'))
  await register(factory, 'gone-maker', { type: 'pump', subjectPattern: 'SN-{id}', deviceId: 'gone-{id}', labels: {} })
  const twin = await factory.certificate('gone', '/O=Maker/CN=SN-1')
  const other = await factory.certificate('gone-2', '/O=Maker/CN=SN-2')
  await until('the listeners to trust the CA', async () => (await publishTelemetry('gone-2', other.cert, other.key)).ok)
  assert.equal((await publishTelemetry(id, twin.cert, twin.key)).ok, false, 'just in time')
  await assert.rejects(estEnrol('simpleenroll', own.csr, '--cert', twin.cert, '--key', twin.key), 'EST with its factory certificate')

  await assert.rejects(estEnrol('simpleenroll', own.csr, '-u', `${id}:${before.body.token}`), 'EST with a token of before')
  assert.equal((await platform.post('/enrolment-tokens', { deviceId: id })).status, 409)
  await assert.rejects(platform.provision(id), 'an operator')
  const csv = join(folder, 'gone.csv')
  writeFileSync(csv, `id,type\n${id},pump\ngone-3,pump\n`)
  const imported = await platform.cli('import', csv).catch((error: { stdout: string }) => error.stdout)
  assert.match(imported, /line 2 \(gone-1\): .*decommissioned[^]*1 created, 0 changed, 0 unchanged, 1 failed/)

  assert.equal((await device(id)).state, 'decommissioned')
  const { items } = await platform.get<{ items: { state: string }[] }>(`/certificates?device=${id}`)
  assert.deepEqual(
    items.filter(({ state }) => state === 'valid'),
    [],
  )
})
