import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { BasicOCSPResponse, id_pkix_ocsp_basic, OCSPRequest, OCSPResponse } from '@peculiar/asn1-ocsp'
import { AsnConvert, OctetString } from '@peculiar/asn1-schema'
import { Extension } from '@peculiar/asn1-x509'
import fc from 'fast-check'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import { publicKeyOf } from '../ca/make-pki.ts'
import type { StoredCertificate } from '../certificates.ts'
import { openssl, run, skipWithout, type Outcome } from '../testing/openssl.ts'
import { startStation, type Station } from '../testing/station.ts'
import { readOcspRequest } from './ocsp-request.ts'

const withoutOpenssl = { skip: skipWithout('openssl') }
const HOUR_MS = 3_600_000
let station: Station
let clock: VirtualClock
let issued = 0

before(async () => {
  clock = new VirtualClock(systemClock.nowMs())
  station = await startStation({}, clock)
  await writeFile(at('ca.pem'), station.authority.caPem)
  await writeFile(at('root.pem'), station.authority.root.toString())
  await writeFile(at('issuing.pem'), station.authority.issuingPem)
})
after(() => station.stop())

function at(name: string): string {
  return join(station.folder, name)
}

async function issue(): Promise<StoredCertificate & { path: string }> {
  const device = `d${++issued}`
  const record = await station.issue({ tenant: 'acme', device, publicKey: publicKeyOf(await newPrivateKeyPem()) })
  await writeFile(at(`${device}.pem`), record.pem)
  return { ...record, path: at(`${device}.pem`) }
}

/** Asks as `openssl ocsp` does: with a nonce unless told otherwise, trusting the root alone. */
function ask(...args: string[]): Promise<Outcome> {
  const url = `${station.pkiHttp.publicUrl}/ocsp`
  return run('openssl', ['ocsp', '-issuer', at('issuing.pem'), '-CAfile', at('ca.pem'), '-url', url, '-resp_text', ...args])
}

function post(body: Uint8Array, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${station.pkiHttp.publicUrl}/ocsp`, {
    method: 'POST',
    body,
    headers: { 'content-type': 'application/ocsp-request', ...headers },
  })
}

async function requestFor(path: string, ...args: string[]): Promise<Buffer> {
  await openssl(['ocsp', '-issuer', at('issuing.pem'), '-cert', path, '-reqout', at('request.der'), ...args])
  return readFile(at('request.der'))
}

async function statusByte(body: Uint8Array): Promise<number> {
  const answer = await post(body)
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'application/ocsp-response')
  return AsnConvert.parse(await answer.arrayBuffer(), OCSPResponse).responseStatus
}

test('openssl ocsp: good, then revoked at once with its reason, and unknown for what was never issued', withoutOpenssl, async () => {
  const leaf = await issue()
  const good = await ask('-cert', leaf.path)
  assert.match(good.stdout, /d\d+\.pem: good/)
  assert.match(good.stderr, /Response verify OK/)
  assert.doesNotMatch(good.stderr, /nonce/i, 'the nonce came back')
  await station.certificates.revoke('acme', leaf.serial, 'keyCompromise')
  const revoked = await ask('-cert', leaf.path)
  assert.match(revoked.stdout, /d\d+\.pem: revoked/)
  assert.match(revoked.stdout, /Reason: keyCompromise/)
  assert.match((await ask('-serial', '0x0123456789')).stdout, /0x0123456789: unknown/)
})

test('GET with the request in the path, escaped or not, gets the same answer as POST', withoutOpenssl, async () => {
  const request = await requestFor((await issue()).path, '-no_nonce')
  const posted = Buffer.from(await (await post(request)).arrayBuffer())
  const base64 = request.toString('base64')
  for (const path of [encodeURIComponent(base64), base64]) {
    const answer = await fetch(`${station.pkiHttp.publicUrl}/ocsp/${path}`)
    assert.equal(answer.headers.get('content-type'), 'application/ocsp-response')
    assert.equal(answer.headers.get('cache-control'), 'no-cache')
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), posted)
  }
})

test('the responder is delegated by the CA that it speaks for, and says that it need not be checked', withoutOpenssl, async () => {
  const leaf = await issue()
  assert.equal((await ask('-cert', leaf.path, '-respout', at('answer.der'))).code, 0)
  const { responseBytes } = AsnConvert.parse(await readFile(at('answer.der')), OCSPResponse)
  const basic = AsnConvert.parse(responseBytes?.response.buffer ?? new ArrayBuffer(0), BasicOCSPResponse)
  const [certificate] = basic.certs ?? []
  const responder = new X509Certificate(Buffer.from(AsnConvert.serialize(certificate)))
  assert.ok(responder.checkIssued(station.authority.issuing) && responder.verify(station.authority.issuing.publicKey))
  await writeFile(at('responder.pem'), responder.toString())
  const text = await openssl(['x509', '-in', at('responder.pem'), '-noout', '-text'])
  assert.match(text, /OCSP Signing/)
  assert.match(text, /OCSP No Check/)
  assert.doesNotMatch(text, /CA:TRUE|CRL Distribution|Authority Information Access/)
  const days = (Date.parse(responder.validTo) - Date.parse(responder.validFrom)) / (24 * HOUR_MS)
  assert.ok(days <= 30, `${days} days`)
})

test('a nonce is answered for this one request, and an answer to another one does not pass', withoutOpenssl, async () => {
  const leaf = await issue()
  const [first, second] = [await requestFor(leaf.path), await requestFor(leaf.path)]
  await writeFile(at('second.der'), second)
  const answer = Buffer.from(await (await post(first)).arrayBuffer())
  await writeFile(at('first-answer.der'), answer)
  const args = ['-CAfile', at('ca.pem'), '-respin', at('first-answer.der')]
  const forged = await run('openssl', ['ocsp', ...args, '-reqin', at('second.der')])
  assert.match(`${forged.stdout}${forged.stderr}`, /Nonce Verify error/)
  await writeFile(at('first.der'), first)
  assert.match((await run('openssl', ['ocsp', ...args, '-reqin', at('first.der')])).stderr, /Response verify OK/)
})

/** The request with its nonce, or what else is put there, changed. */
function withNonce(request: Buffer, bytes: number): Buffer {
  const parsed = AsnConvert.parse(request, OCSPRequest)
  const value = new OctetString(AsnConvert.serialize(new OctetString(Buffer.alloc(bytes, 7))))
  parsed.tbsRequest.requestExtensions = [new Extension({ extnID: '1.3.6.1.5.5.7.48.1.2', extnValue: value })]
  return Buffer.from(AsnConvert.serialize(parsed))
}

test('RFC 8954: a nonce has 1 to 32 bytes; whatever else is malformed is said to be', withoutOpenssl, async () => {
  const request = await requestFor((await issue()).path, '-no_nonce')
  const malformed = 1
  for (const bytes of [1, 16, 32]) assert.equal(await statusByte(withNonce(request, bytes)), 0, `${bytes} bytes`)
  for (const bytes of [0, 33, 300]) assert.equal(await statusByte(withNonce(request, bytes)), malformed, `${bytes} bytes`)
  const deep = Buffer.concat(Array.from({ length: 900 }, () => Buffer.from([0x30, 0x80])))
  for (const body of [Buffer.alloc(0), Buffer.from('hello'), request.subarray(1), Buffer.concat([request, Buffer.of(0)]), deep]) {
    assert.equal(await statusByte(body), malformed)
  }
  assert.equal((await fetch(`${station.pkiHttp.publicUrl}/ocsp/%ZZ`)).status < 500, true)
})

test('a question about a certificate of somebody else’s CA gets no signature', withoutOpenssl, async () => {
  const stranger = await startStation()
  try {
    await writeFile(at('stranger.pem'), stranger.authority.issuingPem)
    const outcome = await run('openssl', [
      'ocsp',
      '-issuer',
      at('stranger.pem'),
      '-serial',
      '0x01',
      '-url',
      `${station.pkiHttp.publicUrl}/ocsp`,
    ])
    assert.match(`${outcome.stdout}${outcome.stderr}`, /unauthorized/)
  } finally {
    await stranger.stop()
  }
})

test('size and kind are bounded before anything is read', async () => {
  assert.equal((await post(Buffer.alloc(5_000))).status, 413)
  assert.equal((await post(Buffer.from('{}'), { 'content-type': 'application/json' })).status, 415)
  assert.equal((await fetch(`${station.pkiHttp.publicUrl}/ocsp`, { method: 'PUT' })).status, 405)
})

test(
  'fuzz: whatever comes in, the parser says what it is or refuses it with RangeError, and an answer always is OCSP',
  withoutOpenssl,
  async () => {
    const request = withNonce(await requestFor((await issue()).path, '-no_nonce'), 16)
    const changed = fc
      .array(fc.tuple(fc.nat(request.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 })
      .chain((changes) =>
        fc.tuple(fc.constant(changes), fc.nat(request.length)).map(([all, cut]) => {
          const bytes = Buffer.from(request)
          for (const [place, value] of all) bytes[place] = value
          return cut % 3 === 0 ? bytes.subarray(0, cut) : bytes
        }),
      )
    const anything = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes))
    fc.assert(
      fc.property(fc.oneof(changed, anything), (bytes) => {
        try {
          const { certIds, nonce } = readOcspRequest(bytes)
          assert.ok(certIds.length >= 1 && certIds.length <= 20 && (nonce === undefined || nonce.length <= 34))
        } catch (error) {
          assert.ok(error instanceof RangeError, String(error))
        }
      }),
      { numRuns: 5_000, verbose: 1 },
    )
    await fc.assert(
      fc.asyncProperty(fc.oneof(changed, anything), async (bytes) => {
        const { der } = await station.ocspResponder.answer(bytes)
        const { responseStatus } = AsnConvert.parse(der, OCSPResponse)
        assert.ok([0, 1, 6].includes(responseStatus))
      }),
      { numRuns: 300, verbose: 1 },
    )
  },
)

// What turns the clock comes last: openssl has its own.

function single(der: Buffer): { thisUpdate: Date; nextUpdate: Date | undefined } {
  const { responseBytes } = AsnConvert.parse(der, OCSPResponse)
  assert.equal(responseBytes?.responseType, id_pkix_ocsp_basic)
  const [first] = AsnConvert.parse(responseBytes.response.buffer, BasicOCSPResponse).tbsResponseData.responses
  assert.ok(first)
  return { thisUpdate: first.thisUpdate, nextUpdate: first.nextUpdate }
}

test('without a nonce the signature is kept while it still says what is known; revocation is never behind', withoutOpenssl, async () => {
  const leaf = await issue()
  const request = await requestFor(leaf.path, '-no_nonce')
  const bytes = async (): Promise<Buffer> => Buffer.from(await (await post(request)).arrayBuffer())
  const first = await bytes()
  assert.deepEqual(await bytes(), first)
  await station.certificates.revoke('acme', leaf.serial, 'unspecified')
  assert.match((await ask('-cert', leaf.path, '-no_nonce')).stdout, /: revoked/)
  await clock.advance(HOUR_MS * 0.6)
  assert.notDeepEqual(await bytes(), first)
  const { thisUpdate, nextUpdate } = single(await bytes())
  assert.equal(Number(nextUpdate) - Number(thisUpdate), HOUR_MS)
})

test('the responder renews its certificate by itself', async () => {
  const leaf = await issue()
  const certId = readOcspRequest(await requestFor(leaf.path, '-no_nonce')).certIds[0] ?? assert.fail()
  const [issuer] = station.authority.issuers
  const signerOf = async (): Promise<string> => {
    const reply = await station.ocspResponder.staple(issuer, certId)
    const { responseBytes } = AsnConvert.parse(reply.der, OCSPResponse)
    const { certs } = AsnConvert.parse(responseBytes?.response.buffer ?? new ArrayBuffer(0), BasicOCSPResponse)
    return new X509Certificate(Buffer.from(AsnConvert.serialize(certs?.[0]))).serialNumber
  }
  const first = await signerOf()
  await clock.advance(10 * 24 * HOUR_MS)
  assert.equal(await signerOf(), first)
  await clock.advance(11 * 24 * HOUR_MS)
  assert.notEqual(await signerOf(), first)
})
