import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { Agent, request } from 'undici'
import { identityOfCertificate } from '../../contracts/device-identity.ts'
import { ConflictError, InvalidInputError } from '../../kernel/errors.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { newDeviceRequest } from './device-bundle.ts'
import { credentialOf, FactoryCa, registerFactory, TEMPLATE, type FactoryDevice } from '../testing/factory-ca.ts'
import { startStation, TENANT, type Station } from '../testing/station.ts'
import { deviceIdOf, labelsOf } from '../trust/template.ts'

let station: Station
let factory: FactoryCa
const agents: Agent[] = []

before(async () => {
  station = await startStation()
  factory = await FactoryCa.make()
  await registerFactory(station, 'maker', factory)
})
after(async () => {
  for (const agent of agents) await agent.destroy()
  await station.stop()
})

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

async function admit(device: string, made: FactoryDevice, authority = 'maker', tenant = TENANT): Promise<string> {
  const credential = credentialOf(device, authority, made, tenant)
  const answer = await station.justInTime.admit({ credential, certificatePem: made.certPem, origin: '10.0.0.1' })
  return answer.status === 'refused' ? `${answer.reason}: ${answer.detail}` : answer.status
}

function agentOf(made: FactoryDevice): Agent {
  const agent = new Agent({ connect: { ca: station.authority.caPem, cert: made.certPem, key: made.keyPem } })
  agents.push(agent)
  return agent
}

async function post(
  path: string,
  made: FactoryDevice,
  body: string,
  contentType = 'application/pkcs10',
): Promise<{ status: number; text: string }> {
  const response = await request(`${station.origin}${path}`, {
    method: 'POST',
    dispatcher: agentOf(made),
    body,
    headers: { 'content-type': contentType },
  })
  return { status: response.statusCode, text: await response.body.text() }
}

const telemetry = (made: FactoryDevice): Promise<{ status: number; text: string }> =>
  post('/ingest/v1/telemetry', made, '{"values":{"t":1}}', 'application/json')

/** Listeners hear of a change a moment later. */
async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const untilMs = systemClock.monotonicMs() + 60_000
  while (!(await condition())) {
    assert.ok(systemClock.monotonicMs() < untilMs, `waited in vain for ${what}`)
    await sleep(systemClock, 10)
  }
}

test('HTTPS telemetry is taken from a factory certificate at once; EST gives it one of ours', async () => {
  await until('the listener to trust the CA', () => Promise.resolve(station.trust.anchorsPem !== ''))
  const made = await factory.sign('CN=https-1')
  const answer = await telemetry(made)
  assert.deepEqual([answer.status, answer.text], [202, '{"accepted":1,"rejected":0,"items":[{"status":"accepted"}]}'])
  assert.equal((await station.registrar.findDevice(TENANT, 'https-1'))?.type, 'pump')
  const { csrPem } = await newDeviceRequest('https-1')
  assert.equal((await post('/.well-known/est/simpleenroll', made, csrPem)).status, 200)
  const refused = await post('/.well-known/est/simplereenroll', made, csrPem)
  assert.deepEqual([refused.status, refused.text], [403, 'a factory certificate is not renewed here; enrol with simpleenroll\n'])
  const { items } = await station.certificates.list({ tenant: TENANT, device: 'https-1', limit: 5 })
  assert.deepEqual(items.map(({ door, via }) => [door, via]).toSorted(), [
    ['est-factory', 'factory:maker'],
    ['just-in-time', 'factory:maker'],
  ])
  assert.deepEqual(station.auditTrail.actionsOn('https-1').toSorted(), ['certificate.admit', 'certificate.issue'])
})

test('what a factory certificate says of itself counts for nothing', async () => {
  const token = await station.token('victim')
  await station.enrolment.enrolWithToken('victim', token, derOf((await newDeviceRequest('victim')).csrPem))
  const posing = await factory.sign('CN=victim', { uri: 'urn:fleetpulse:default:victim' })
  const certificate = new X509Certificate(posing.certPem)
  assert.notEqual(identityOfCertificate('victim', certificate.subjectAltName), undefined, 'as one of ours it would be the victim')
  const reading = station.trust.read(certificate.toLegacyObject())
  assert.equal(reading.status === 'read' && reading.credential.kind, 'factory')
  assert.match((await telemetry(posing)).text, /the device has come in with another certificate before/)
  const claiming = await factory.sign('CN=claim:x', { uri: 'urn:fleetpulse-claim:default:x' })
  assert.equal(station.trust.read(new X509Certificate(claiming.certPem).toLegacyObject()).status, 'refused')
})

test('a CA below a registered one is not registered, whatever chain is shown', async () => {
  const below = await FactoryCa.make({ name: 'CN=Sub', issuer: factory })
  const made = await below.sign('CN=below-1')
  const reading = station.trust.read(new X509Certificate(made.certPem).toLegacyObject())
  assert.deepEqual([reading.status, reading.status === 'refused' && reading.reason], ['refused', 'unknown-ca'])
  assert.equal((await telemetry({ certPem: made.certPem + below.pem, keyPem: made.keyPem })).status, 401)
})

test('a stranger with the same names, and an expired certificate, are refused', async () => {
  const stranger = await FactoryCa.make()
  const forged = await stranger.sign('CN=forged')
  assert.equal((await telemetry(forged)).status, 401)
  assert.match(await admit('forged', forged), /credential-refused: the certificate is not one of this factory CA/)
  const expired = await factory.sign('CN=expired', { notAfterMs: systemClock.nowMs() - 1_000 })
  assert.match((await telemetry(expired)).text, /CERT_HAS_EXPIRED/)
  assert.match(await admit('expired', expired), /credential-refused/)
  assert.match(await admit('somebody-else', await factory.sign('CN=named')), /credential-refused/)
})

test('of many certificates for one device at once, one comes in; it may come again', async () => {
  const twins = await Promise.all(Array.from({ length: 8 }, () => factory.sign('CN=twin')))
  const answers = await Promise.all(twins.map((twin) => admit('twin', twin)))
  assert.equal(answers.filter((answer) => answer === 'granted').length, 1, answers.join('\n'))
  for (const answer of answers)
    if (answer !== 'granted') assert.match(answer, /device-refused: the device has come in with another certificate before/)
  const first = twins[answers.indexOf('granted')] as FactoryDevice
  assert.equal(await admit('twin', first), 'granted')
  assert.equal((await station.certificates.list({ tenant: TENANT, device: 'twin', limit: 10 })).items.length, 1)
})

test('weak keys, revoked certificates, suspended and decommissioned devices are refused', async () => {
  const weak = await factory.sign('CN=weak', { keys: generateKeyPairSync('rsa', { modulusLength: 1024 }) })
  assert.match(await admit('weak', weak), /key-not-allowed: an RSA key of 1024 bits/)
  const revoked = await factory.sign('CN=revoked')
  assert.equal(await admit('revoked', revoked), 'granted')
  // By the serial that its own CA gave it too, where that names one certificate.
  const record = await station.certificates.get(TENANT, credentialOf('revoked', 'maker', revoked).serial)
  assert.equal(
    record.foreignSerial,
    BigInt(`0x${new X509Certificate(revoked.certPem).serialNumber}`)
      .toString(16)
      .padStart(2, '0')
      .toUpperCase(),
  )
  await station.certificates.revoke(TENANT, record.serial, 'keyCompromise')
  assert.match(await admit('revoked', revoked), /the certificate is revoked/)
  await until('the listener to know', async () => /certificate-revoked|is revoked/.test((await telemetry(revoked)).text))
  for (const state of ['suspended', 'decommissioned'] as const) {
    const made = await factory.sign(`CN=is-${state}`)
    assert.equal(await admit(`is-${state}`, made), 'granted')
    station.registrar.setState(TENANT, `is-${state}`, state)
    assert.match(await admit(`is-${state}`, made), new RegExp(`the device is ${state}`))
  }
})

test('its CRL is not ours: a revoked factory certificate is on none of ours', async () => {
  const revoked = (await station.certificates.list({ tenant: TENANT, state: 'revoked', limit: 50 })).items.filter(
    ({ foreignSerial }) => foreignSerial !== undefined,
  )
  assert.ok(revoked.length > 0)
  for (const { issuer } of revoked) assert.match(issuer, /^factory:/)
})

test('two tenants, each with a CA and a device of the same names', async () => {
  const theirs = await FactoryCa.make({ name: 'CN=Maker Root' })
  await registerFactory(station, 'maker', theirs, {}, 'acme')
  const [a, b] = [await factory.sign('CN=same'), await theirs.sign('CN=same')]
  assert.equal(await admit('same', a), 'granted')
  assert.equal(await admit('same', b, 'maker', 'acme'), 'granted')
  assert.match(await admit('same', a, 'maker', 'acme'), /credential-refused/)
  await until('the other CA to be known', () =>
    Promise.resolve(station.trust.lapse(credentialOf('same', 'maker', b, 'acme')) === undefined),
  )
  const reading = station.trust.read(new X509Certificate(b.certPem).toLegacyObject())
  assert.equal(reading.status === 'read' && reading.credential.tenant, 'acme')
})

test('possession must be proved: no code, another code, a replayed one, another CA, an expired proof', async () => {
  const other = await FactoryCa.make({ name: 'CN=Proven' })
  const newCode = async (tenant = TENANT): Promise<string> => (await station.factoryAuthorities.newCode(tenant, 'user:tester')).code
  const code = await newCode()
  const good = {
    tenant: TENANT,
    id: 'proven',
    certificatePem: other.pem,
    chainPem: '',
    code,
    proofPem: (await other.sign(`CN=${code}`)).certPem,
    template: TEMPLATE,
    by: 'user:tester',
  }
  const foreignCode = await newCode('acme')
  const intermediate = await FactoryCa.make({ name: 'CN=Below', issuer: other })
  const wrong: [string, object, RegExp][] = [
    ['an unknown code', { code: 'f'.repeat(32) }, /^code: /],
    ["another tenant's code", { code: foreignCode, proofPem: (await other.sign(`CN=${foreignCode}`)).certPem }, /^code: /],
    ['a proof with another name', { proofPem: (await other.sign('CN=else')).certPem }, /^proof: must have the registration code/],
    ['a proof with two names', { proofPem: (await other.sign(`CN=${code},CN=x`)).certPem }, /^proof: /],
    ['a proof by somebody else', { proofPem: (await factory.sign(`CN=${code}`)).certPem }, /^proof: was not signed by the CA/],
    [
      'an expired proof',
      { proofPem: (await other.sign(`CN=${code}`, { notAfterMs: systemClock.nowMs() - 1 })).certPem },
      /^proof: is not in force/,
    ],
    ['no proof', { proofPem: '' }, /^proof: must be exactly one/],
    ['two certificates', { certificatePem: other.pem + factory.pem }, /^certificate: must be exactly one/],
    ['a leaf', { certificatePem: (await FactoryCa.make({ isCa: false })).pem }, /^certificate: is not a CA/],
    [
      'an expired CA',
      { certificatePem: (await FactoryCa.make({ notAfterMs: systemClock.nowMs() - 1 })).pem },
      /^certificate: is in force from/,
    ],
    ['no chain', { certificatePem: intermediate.pem }, /^chain: must lead up to a self-signed CA/],
    ['a wrong chain', { certificatePem: intermediate.pem, chainPem: factory.pem }, /^chain: must hold the issuers in order/],
    [
      'noise',
      { certificatePem: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----' },
      /^certificate: holds something that is no certificate/,
    ],
    ['our own CA', { certificatePem: station.authority.root.toString() }, /^certificate: is this platform's own CA/],
    ['an unknown type', { template: { ...TEMPLATE, type: 'rocket' } }, /^template.type: /],
    ['a bad name', { id: '../x' }, /^id: /],
  ]
  for (const [what, change, message] of wrong) {
    const isNamed = (error: unknown): boolean => error instanceof InvalidInputError && message.test(error.message)
    await assert.rejects(station.factoryAuthorities.register({ ...good, ...change }), isNamed, what)
  }
  assert.equal((await station.factoryAuthorities.register(good)).state, 'open')
  await assert.rejects(station.factoryAuthorities.register({ ...good, id: 'again' }), /^InvalidInputError: code: /, 'a code works once')
  const second = await newCode('acme')
  const elsewhere = { ...good, tenant: 'acme', id: 'mine-now', code: second, proofPem: (await other.sign(`CN=${second}`)).certPem }
  await assert.rejects(station.factoryAuthorities.register(elsewhere), ConflictError, 'one CA is one tenant’s')
})

test('a CA with its chain up to the root: leaves alone are verified', async () => {
  const root = await FactoryCa.make({ name: 'CN=Chain Root' })
  const issuing = await FactoryCa.make({ name: 'CN=Chain Issuing', issuer: root })
  const { code } = await station.factoryAuthorities.newCode(TENANT, 'user:tester')
  const proofPem = (await issuing.sign(`CN=${code}`)).certPem
  await station.factoryAuthorities.register({
    tenant: TENANT,
    id: 'chained',
    certificatePem: issuing.pem,
    chainPem: root.pem,
    code,
    proofPem,
    template: TEMPLATE,
    by: 'user:tester',
  })
  const made = await issuing.sign('CN=chained-1')
  await until('the listener to take it', async () => (await telemetry(made)).status === 202)
  // The root stands in the trust only to end the chain.
  assert.equal((await telemetry(await root.sign('CN=by-root'))).status, 401)
})

test('closed, nobody new comes in and who is in stays; removed, all that came from it ends at once', async () => {
  const maker = await FactoryCa.make({ name: 'CN=Leaving' })
  await registerFactory(station, 'leaving', maker)
  const [inside, late] = [await maker.sign('CN=inside'), await maker.sign('CN=late')]
  await until('the listener to take it', async () => (await telemetry(inside)).status === 202)
  await station.factoryAuthorities.setState(TENANT, 'leaving', 'closed', { by: 'user:tester' })
  assert.match(await admit('late', late, 'leaving'), /the factory CA lets no new devices in/)
  assert.equal((await telemetry(inside)).status, 202)
  const credential = credentialOf('inside', 'leaving', inside)
  const renewed = await station.enrolment.enrolWithCertificate(
    { tenant: TENANT, device: 'inside', serial: credential.serial },
    derOf((await newDeviceRequest('inside')).csrPem),
    { sameIdentity: true },
  )
  assert.ok(renewed.status === 'issued')

  const socket = connect({
    port: station.https.port,
    host: '127.0.0.1',
    ca: station.authority.caPem,
    cert: inside.certPem,
    key: inside.keyPem,
  })
  await once(socket, 'secureConnect')
  const closed = once(socket, 'close')
  const startedMs = systemClock.monotonicMs()
  assert.deepEqual(await station.factoryAuthorities.remove(TENANT, 'leaving', { by: 'user:tester' }), { revoked: 2 })
  await closed
  assert.ok(systemClock.monotonicMs() - startedMs < 1_000, 'live sessions end within a second')
  assert.equal((await station.certificates.get(TENANT, renewed.certificate.serial)).state, 'revoked', 'its renewals share its fate')
  assert.equal((await telemetry(inside)).status, 401)
  assert.match(await admit('inside', inside, 'leaving'), /not registered any more/)
  assert.deepEqual(station.auditTrail.actionsOn('leaving'), [
    'factory-authority.register',
    'factory-authority.close',
    'factory-authority.remove',
  ])
  // Registered anew, the device is as it was left: its certificate is revoked.
  await registerFactory(station, 'leaving', maker)
  assert.match(await admit('inside', inside, 'leaving'), /the certificate is revoked/)
})

test('a removal that a crash cut off is finished at the next start', async () => {
  const maker = await FactoryCa.make({ name: 'CN=Crashing' })
  await registerFactory(station, 'crashing', maker)
  const made = await maker.sign('CN=crashed')
  assert.equal(await admit('crashed', made, 'crashing'), 'granted')
  const authorities = await station.stores.documents.collection({ name: 'factory-authorities', indexes: [] })
  await authorities.update(`${TENANT}/crashing`, { $set: { state: 'removing', announced: false } })
  await station.factoryAuthorities.stop()
  await station.factoryAuthorities.start()
  assert.equal((await station.certificates.get(TENANT, credentialOf('crashed', 'crashing', made).serial)).state, 'revoked')
  assert.equal(await authorities.get(`${TENANT}/crashing`), null)
})

test('an admission that a crash cut off goes on with the same certificate, and with no other', async () => {
  const made = await factory.sign('CN=half')
  const key = credentialOf('half', 'maker', made).serial
  const bindings = await station.stores.documents.collection({ name: 'factory-devices', indexes: [] })
  await station.registrar.ensureRegistered(TENANT, 'half', 'pump', 'device:half')
  await bindings.insert(`${TENANT}/half`, { authority: 'maker', certificate: key, at: 1 })
  assert.match(await admit('half', await factory.sign('CN=half')), /another certificate/)
  assert.equal(await admit('half', made), 'granted')
  assert.equal((await station.registrar.findDevice(TENANT, 'half'))?.state, 'provisioned')
})

test('templates: the device id is what stands in the place of {id}, or there is none', () => {
  const template = {
    ...TEMPLATE,
    subjectPattern: 'SN-{id}.maker',
    deviceId: 'pump-{id}',
    labels: { sn: '{id}', by: '{O}/{OU}', odd: '{nothing} {id' },
  }
  assert.equal(deviceIdOf(template, { CN: 'SN-77.maker' }), 'pump-77')
  assert.deepEqual(labelsOf(template, { CN: 'SN-77.maker', O: 'Maker' }), { sn: '77', by: 'Maker/', odd: '{nothing} {id' })
  for (const CN of ['SN-.maker', 'sn-77.maker', 'SN-77.makers', 'SN-7/7.maker', '', ['SN-1.maker', 'SN-2.maker'], undefined])
    assert.equal(deviceIdOf(template, { CN }), undefined)
  assert.equal(
    deviceIdOf({ ...template, attribute: 'serialNumber', subjectPattern: '{id}' }, { CN: 'x', serialNumber: '0099' }),
    'pump-0099',
  )
  assert.equal(deviceIdOf(template, Object.create({ CN: 'SN-77.maker' }) as Record<string, unknown>), undefined)
  fc.assert(
    fc.property(fc.string({ maxLength: 30 }), fc.string({ maxLength: 30 }), fc.string({ maxLength: 80 }), (before, after, CN) => {
      const clean = (text: string): string => text.replace(/[{}]/g, '')
      const found = deviceIdOf({ attribute: 'CN', subjectPattern: `${clean(before)}{id}${clean(after)}`, deviceId: '{id}' }, { CN })
      if (found !== undefined) assert.equal(clean(before) + found + clean(after), CN)
    }),
    { numRuns: 500 },
  )
})

test('the key of a certificate on record is made of the whole certificate', async () => {
  const made = await factory.sign('CN=key-of')
  const raw = new X509Certificate(made.certPem).raw
  const { serial } = credentialOf('key-of', 'maker', made)
  assert.ok(createHash('sha256').update(raw).digest('hex').toUpperCase().startsWith(serial) || serial.length < 40)
})
