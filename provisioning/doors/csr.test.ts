import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { checkCsr, type CsrRefusal } from './csr.ts'
import { sequenceAt } from '../ca/der.ts'
import { newDeviceRequest } from './device-bundle.ts'
import { openssl, skipWithout } from '../testing/openssl.ts'
import { temporaryFolder, testConfig } from '../testing/station.ts'

const limits = testConfig()
const withoutOpenssl = { skip: skipWithout('openssl') }
let folder: string

before(async () => (folder = await temporaryFolder()))
after(() => rm(folder, { recursive: true, force: true }))

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}

function refusalOf(der: Uint8Array): CsrRefusal | undefined {
  const check = checkCsr(der, limits)
  return check.status === 'refused' ? check.reason : undefined
}

/** A request that openssl makes with this key. */
async function opensslRequest(keyPem: string, ...more: string[]): Promise<Buffer> {
  const keyPath = join(folder, 'key.pem')
  await writeFile(keyPath, keyPem)
  return derOf(await openssl(['req', '-new', '-key', keyPath, '-subj', '/CN=d1', ...more]))
}

test('our own request is proven', async () => {
  const { csrPem } = await newDeviceRequest('d1')
  const check = checkCsr(derOf(csrPem), limits)
  assert.equal(check.status, 'proven')
  if (check.status === 'proven') assert.deepEqual(check.csr.commonNames, ['d1'])
})

test('openssl requests with ECDSA P-256, P-384 and RSA 2048, with and without a SAN', withoutOpenssl, async () => {
  const keys = [
    generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    generateKeyPairSync('ec', { namedCurve: 'P-384' }),
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ]
  for (const { privateKey } of keys) {
    const pem = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
    assert.equal(checkCsr(await opensslRequest(pem), limits).status, 'proven')
    const named = checkCsr(await opensslRequest(pem, '-addext', 'subjectAltName=URI:urn:fleetpulse:acme:d1,DNS:x'), limits)
    assert.equal(named.status, 'proven')
    if (named.status === 'proven') assert.deepEqual(named.csr.alternativeNames, [{ tenant: 'acme', device: 'd1' }, undefined])
  }
})

test('names we cannot read bind nobody, and do not spoil the request', withoutOpenssl, async () => {
  const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
  const check = checkCsr(await opensslRequest(pem, '-addext', 'subjectAltName=otherName:1.2.3.4;UTF8:x'), limits)
  assert.equal(check.status, 'proven')
  if (check.status === 'proven') assert.deepEqual(check.csr.alternativeNames, [undefined])
})

test('weak and foreign keys are refused by name', withoutOpenssl, async () => {
  const keys = [
    generateKeyPairSync('rsa', { modulusLength: 1024 }),
    generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }),
    generateKeyPairSync('ec', { namedCurve: 'P-521' }),
    generateKeyPairSync('ec', { namedCurve: 'secp256k1' }),
    generateKeyPairSync('ed25519'),
  ]
  for (const { privateKey } of keys) {
    const check = checkCsr(await opensslRequest(privateKey.export({ format: 'pem', type: 'pkcs8' }) as string), limits)
    assert.equal(check.status === 'refused' && check.reason, 'key-not-allowed')
    assert.match(check.status === 'refused' ? check.detail : '', /allowed: /)
  }
})

test('a SHA-1 signature proves nothing', withoutOpenssl, async () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const der = await opensslRequest(privateKey.export({ format: 'pem', type: 'pkcs8' }) as string, '-sha1')
  assert.equal(refusalOf(der), 'possession-not-proved')
})

test('a changed request is refused: possession is not proved', async () => {
  const der = derOf((await newDeviceRequest('device-one')).csrPem)
  const renamed = Buffer.from(der)
  renamed.write('device-two', der.indexOf('device-one'))
  assert.equal(refusalOf(renamed), 'possession-not-proved')
})

test('another key under the same signature is refused', async () => {
  const [first, second] = [derOf((await newDeviceRequest('d1')).csrPem), derOf((await newDeviceRequest('d1')).csrPem)]
  // An uncompressed P-256 point: tag 03, length 66, no unused bits, 04.
  const marker = Buffer.from('03420004', 'hex')
  const swapped = Buffer.from(first)
  second.copy(swapped, first.indexOf(marker), second.indexOf(marker), second.indexOf(marker) + 68)
  assert.equal(refusalOf(swapped), 'possession-not-proved')
})

test('random bytes are refused and never throw', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      assert.equal(refusalOf(bytes), 'malformed')
      assert.notEqual(refusalOf(Uint8Array.of(0x30, ...bytes)), undefined)
    }),
    { numRuns: 300 },
  )
})

test('a request with bytes changed, cut or added never throws, and never proves another key or name', async () => {
  const der = derOf((await newDeviceRequest('d1')).csrPem)
  const original = checkCsr(der, limits)
  const signedEnd = sequenceAt(der, sequenceAt(der, 0).contentStart).end
  fc.assert(
    fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), fc.nat(der.length - 1), (at, flip, cutAt) => {
      const changed = Buffer.from(der)
      changed[at] = (changed[at] as number) ^ flip
      const check = checkCsr(changed, limits)
      // Around the signed part a tag or a count of unused bits may read as something else: that changes nothing that counts.
      if (at < signedEnd) assert.equal(check.status, 'refused')
      else if (check.status === 'proven') assert.deepEqual(check, original)
      assert.notEqual(refusalOf(der.subarray(0, cutAt)), undefined)
      assert.notEqual(refusalOf(Buffer.concat([der, Buffer.from([flip])])), undefined)
    }),
    { numRuns: 400 },
  )
})

test('deep nesting is refused', () => {
  let nested = Buffer.alloc(0)
  while (nested.length < 16_000) {
    const length = nested.length < 128 ? Buffer.from([nested.length]) : Buffer.from([0x82, nested.length >> 8, nested.length & 255])
    nested = Buffer.concat([Buffer.from([0x30]), length, nested])
  }
  assert.equal(refusalOf(nested), 'malformed')
})
