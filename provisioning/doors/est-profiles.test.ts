import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Agent, request } from 'undici'
import { systemClock } from '../../kernel/time.ts'
import { bitString, explicit, integerFromHex, objectIdentifier, sequence, set } from '../ca/der.ts'
import { newDeviceRequest, enrolDevice } from './device-bundle.ts'
import { readCsrNames } from './csr.ts'
import { openssl, skipWithout } from '../testing/openssl.ts'
import { startStation, TENANT, type Station } from '../testing/station.ts'

const withOpenssl = { skip: skipWithout('openssl') }
let station: Station
const agents: Agent[] = []

before(async () => {
  station = await startStation({}, systemClock, {
    csrKeys: { pump: ['P-384', 'RSA-3072'] },
    serverKeygenTypes: ['generic'],
    serverKeygenKey: 'P-384',
  })
})
after(async () => {
  for (const agent of agents) await agent.destroy()
  await station.stop()
})

function agentOf(client?: { keyPem: string; certPem: string }): Agent {
  const agent = new Agent({
    connect: { ca: station.authority.caPem, ...(client === undefined ? {} : { key: client.keyPem, cert: client.certPem }) },
  })
  agents.push(agent)
  return agent
}

async function attributes(client?: { keyPem: string; certPem: string }): Promise<string> {
  const response = await request(`${station.origin}/.well-known/est/csrattrs`, { dispatcher: agentOf(client) })
  assert.deepEqual([response.statusCode, response.headers['content-type']], [200, 'application/csrattrs'])
  const file = join(station.folder, 'attributes.der')
  await writeFile(file, Buffer.from(await response.body.text(), 'base64'))
  return openssl(['asn1parse', '-inform', 'DER', '-in', file, '-i'])
}

async function enrolled(deviceId: string, type: string, csrPem: string): Promise<string> {
  const { token } = await station.tokens.create({ tenant: TENANT, deviceId, type, by: 'system' })
  const outcome = await station.enrolment.enrolWithToken(deviceId, token, derOf(csrPem))
  return outcome.status === 'refused' ? `${outcome.reason}: ${outcome.detail}` : outcome.status
}

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

test('csrattrs tells what the type of the client may use, and the names of a client that is known', withOpenssl, async () => {
  const anybody = await attributes()
  for (const name of ['id-ecPublicKey', 'prime256v1', 'secp384r1', 'ecdsa-with-SHA256', 'Extension Request'])
    assert.match(anybody, new RegExp(name))
  assert.doesNotMatch(anybody, /Subject Alternative Name|rsaEncryption/)
  assert.match(await enrolled('p1', 'pump', (await newDeviceRequest('p1')).csrPem), /^key-not-allowed/)
  const keyPem = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
  const keyFile = join(station.folder, 'p384.pem')
  await writeFile(keyFile, keyPem)
  const { token } = await station.tokens.create({ tenant: TENANT, deviceId: 'p1', by: 'system' })
  const request384 = await openssl(['req', '-new', '-key', keyFile, '-sha384', '-subj', '/CN=p1'])
  const outcome = await station.enrolment.enrolWithToken('p1', token, derOf(request384))
  assert.ok(outcome.status === 'issued')
  const known = await attributes({ keyPem, certPem: outcome.certificate.pem })
  for (const name of ['secp384r1', 'rsaEncryption', 'ecdsa-with-SHA384', 'X509v3 Subject Alternative Name', 'X509v3 Extended Key Usage'])
    assert.match(known, new RegExp(name))
  assert.doesNotMatch(known, /prime256v1/)
  assert.match(known, new RegExp(Buffer.from('urn:fleetpulse:default:p1').toString('hex').toUpperCase()))
})

test('a key that is strong but not of the type is refused at every door, with what is allowed', async () => {
  assert.equal(
    await enrolled('p2', 'pump', (await newDeviceRequest('p2')).csrPem),
    'key-not-allowed: a key of kind P-256 is not accepted from type pump; allowed: P-384, RSA-3072',
  )
  assert.equal(await enrolled('g1', 'generic', (await newDeviceRequest('g1')).csrPem), 'issued')
})

test('serverkeygen ignores key and signature of the request, and refuses what it cannot do', async () => {
  const { token } = await station.tokens.create({ tenant: TENANT, deviceId: 'k1', by: 'system' })
  const der = derOf((await newDeviceRequest('k1')).csrPem)
  der[der.length - 1] = (der[der.length - 1] as number) ^ 1
  const outcome = await station.enrolment.enrolWithToken('k1', token, der, { keyMaker: 'server' })
  assert.ok(outcome.status === 'issued' && outcome.privateKey !== undefined)
  assert.equal((station.auditTrail.acts.at(-1)?.after as { keyMadeBy: string }).keyMadeBy, 'server')
  assert.ok(
    !JSON.stringify([station.auditTrail.acts, await station.certificates.get(TENANT, outcome.certificate.serial)]).includes(
      outcome.privateKey.toString('base64').slice(60, 100),
    ),
  )
  const wantsEncryption = csrWith(sequence(objectIdentifier('1.2.840.113549.1.9.16.2.37'), set(integerFromHex('01'))))
  const read = readCsrNames(wantsEncryption)
  assert.deepEqual([read.status, read.status === 'refused' && read.reason], ['refused', 'key-encryption'])
})

/** A request whose signature is none, with this attribute. */
function csrWith(attribute: Buffer): Buffer {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'der', type: 'spki' })
  const information = sequence(integerFromHex('00'), sequence(), key, explicit(0, attribute))
  return sequence(information, sequence(objectIdentifier('1.2.840.10045.4.3.2')), bitString(Buffer.alloc(8)))
}

test('re-enrolment with serverkeygen by the current certificate keeps the identity', async () => {
  const { token } = await station.tokens.create({ tenant: TENANT, deviceId: 'k2', by: 'system' })
  const bundle = await enrolDevice('k2', (csr) => station.estClient().enrol(csr, { deviceId: 'k2', token }))
  const { csrPem } = await newDeviceRequest('somebody-else')
  const response = await request(`${station.origin}/.well-known/est/serverkeygen`, {
    method: 'POST',
    dispatcher: agentOf(bundle),
    body: csrPem,
    headers: { 'content-type': 'application/pkcs10' },
  })
  assert.deepEqual([response.statusCode, response.headers['cache-control']], [200, 'no-store'])
  assert.match(String(response.headers['content-type']), /^multipart\/mixed; boundary=/)
  await response.body.dump()
  const { items } = await station.certificates.list({ tenant: TENANT, device: 'k2', limit: 5 })
  assert.equal(items.length, 2)
})
