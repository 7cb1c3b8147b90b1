import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { TOPICS } from '../../contracts/topics.ts'
import { FleetpulseError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import type { CrlEntry } from '../ca/crl.ts'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import { publicKeyOf } from '../ca/make-pki.ts'
import { SigningDesk } from '../ca/signing-desk.ts'
import type { StoredCertificate } from '../certificates.ts'
import { openssl, skipWithout } from '../testing/openssl.ts'
import { startStation, type Station } from '../testing/station.ts'
import { decodeCrl } from './crl-decode.ts'
import { CrlImport, type CrlAuthority } from './crl-import.ts'
import { publishedAuthorities } from './published-authorities.ts'

const withoutOpenssl = { skip: skipWithout('openssl') }
const HOUR_MS = 3_600_000
const BY = 'user:ann'
let station: Station
let desk: SigningDesk
const registered: CrlAuthority[] = []
let importer: CrlImport

before(async () => {
  station = await startStation()
  const { documents } = station.stores
  const common = { documents, config: station.config, clock: systemClock, log: silentLogger }
  desk = new SigningDesk({ ...common, authority: station.authority })
  await desk.start()
  importer = new CrlImport({
    ...common,
    certificates: station.certificates,
    authorities: async (tenant) => [...(await publishedAuthorities(documents, station.certificates, tenant)), ...registered],
  })
})
after(async () => {
  await desk.stop()
  await station.stop()
})

async function issue(device: string, tenant = 'acme'): Promise<StoredCertificate> {
  return station.issue({ tenant, device, publicKey: publicKeyOf(await newPrivateKeyPem()) })
}

function crlOf(entries: readonly CrlEntry[], { at = station, thisUpdateMs = systemClock.nowMs() } = {}): Promise<Buffer> {
  return at.authority.signCrl({ number: 7, thisUpdateMs, nextUpdateMs: thisUpdateMs + HOUR_MS, entries }, at.authority.issuers[0])
}

function entry(serial: string, reason: CrlEntry['reason'] = 'keyCompromise'): CrlEntry {
  return { serial, revokedAtMs: systemClock.nowMs() - HOUR_MS, reason }
}

async function revocationEvents(): Promise<string[]> {
  const records = await station.stores.records(TOPICS.deviceEvents)
  return records.map(({ value }) => (JSON.parse(Buffer.from(value).toString()) as { serial: string }).serial)
}

async function refusedAs(code: string, crl: Uint8Array): Promise<void> {
  await assert.rejects(importer.import('acme', crl, BY), (error: unknown) => error instanceof FleetpulseError && error.code === code)
}

test('what our own CA listed is revoked with its reason, each entry says what became of it, and again changes nothing', async () => {
  const [lost, known, kept, foreign] = [await issue('lost'), await issue('known'), await issue('kept'), await issue('foreign', 'other')]
  await station.certificates.revoke('acme', known.serial, 'superseded')
  const crl = await crlOf([entry(lost.serial), entry(known.serial), entry('0BAD'), entry(foreign.serial)])
  const before = (await revocationEvents()).length
  const imported = await importer.import('acme', crl, BY)
  assert.deepEqual(
    imported.entries.map(({ serial, outcome, device }) => [serial, outcome, device]),
    [
      [lost.serial, 'revoked', 'lost'],
      [known.serial, 'already-revoked', 'known'],
      ['0BAD', 'unknown', undefined],
      [foreign.serial, 'unknown', undefined],
    ],
  )
  assert.deepEqual(imported.summary, { revoked: 1, 'already-revoked': 1, unknown: 2, ignored: 0 })
  assert.deepEqual([imported.number, imported.isDelta, imported.isStale], ['7', false, false])
  const revoked = await station.certificates.get('acme', lost.serial)
  assert.deepEqual([revoked.state, revoked.reason, revoked.revokedBy], ['revoked', 'keyCompromise', BY])
  assert.equal((await station.certificates.get('acme', kept.serial)).state, 'valid')
  assert.equal((await station.certificates.get('other', foreign.serial)).state, 'valid')
  const again = await importer.import('acme', crl, BY)
  assert.deepEqual(again.summary, { revoked: 0, 'already-revoked': 2, unknown: 2, ignored: 0 })
  assert.deepEqual((await revocationEvents()).slice(before), [lost.serial], 'only the newly revoked is told of')
})

test('PEM, a delta CRL and one that is stale are taken; a CRL of tomorrow is not', withoutOpenssl, async () => {
  const [pem, delta, stale] = [await issue('pem'), await issue('delta'), await issue('stale')]
  const text = await openssl(['crl', '-inform', 'DER'], await crlOf([entry(pem.serial)]))
  assert.equal((await importer.import('acme', Buffer.from(`some words\n${text}`), BY)).summary.revoked, 1)
  const nowMs = systemClock.nowMs()
  const [issuer] = station.authority.issuers
  const times = { number: 9, thisUpdateMs: nowMs, nextUpdateMs: nowMs + HOUR_MS }
  const signed = await station.authority.signCrl({ ...times, entries: [entry(delta.serial)], baseNumber: 8 }, issuer)
  const imported = await importer.import('acme', signed, BY)
  assert.deepEqual([imported.isDelta, imported.summary.revoked], [true, 1])
  const old = await importer.import('acme', await crlOf([entry(stale.serial)], { thisUpdateMs: nowMs - 5 * HOUR_MS }), BY)
  assert.deepEqual([old.isStale, old.summary.revoked], [true, 1])
  await refusedAs('CRL_FROM_THE_FUTURE', await crlOf([], { thisUpdateMs: nowMs + HOUR_MS }))
})

test('a forged, altered or unknown CA revokes nothing', async () => {
  const target = await issue('target')
  const stranger = await startStation()
  try {
    await refusedAs('CRL_UNTRUSTED', await crlOf([entry(target.serial)], { at: stranger }))
    // Our name and key id, their key.
    const [ours] = station.authority.issuers
    const impostor = { ...stranger.authority.issuers[0], name: ours.name, keyId: ours.keyId }
    const nowMs = systemClock.nowMs()
    const content = { number: 7, thisUpdateMs: nowMs, nextUpdateMs: nowMs + HOUR_MS, entries: [entry(target.serial)] }
    await refusedAs('CRL_UNTRUSTED', await stranger.authority.signCrl(content, impostor))
    await refusedAs('CRL_UNTRUSTED', await stranger.authority.signCrl(content, { ...impostor, keyId: '00'.repeat(20) }))
  } finally {
    await stranger.stop()
  }
  const crl = await crlOf([entry((await issue('somebody')).serial)])
  const altered = Buffer.from(crl)
  const at = altered.indexOf(Buffer.from(`${'17'}0d`, 'hex'))
  altered[at + 3] = (altered[at + 3] ?? 0) ^ 1
  await refusedAs('CRL_UNTRUSTED', altered)
  assert.equal((await station.certificates.get('acme', target.serial)).state, 'valid')
})

test('a registered issuer revokes what it numbered, and nothing of ours', withoutOpenssl, async () => {
  for (const key of [
    ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
    ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
    ['-algorithm', 'ED25519'],
  ]) {
    const name = (key[1] ?? '').toLowerCase()
    const folder = join(station.folder, `ca-${name}`)
    await mkdir(folder)
    const at = (file: string): string => join(folder, file)
    await openssl(['genpkey', ...key, '-out', at('key.pem')])
    await openssl(['req', '-x509', '-new', '-key', at('key.pem'), '-subj', `/O=Corp/CN=${name}`, '-days', '10', '-out', at('ca.pem')])
    const ours = await issue(`ours-${name}`)
    // The same number from two CAs names two certificates.
    const theirs = await issue(`theirs-${name}`)
    const lines = [ours.serial, 'ABCDEF'].map(
      (serial) => `R\t401231235959Z\t250101000000Z,keyCompromise\t${serial}\tunknown\t/CN=${serial}`,
    )
    await writeFile(at('index.txt'), `${lines.join('\n')}\n`)
    await writeFile(at('crlnumber'), '1F\n')
    const config = `[ca]\ndefault_ca=d\n[d]\ndatabase=${at('index.txt')}\ncrlnumber=${at('crlnumber')}\ndefault_md=${name === 'ed25519' ? 'default' : 'sha384'}\ndefault_crl_days=5\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n`
    await writeFile(at('config'), config)
    await openssl(['ca', '-gencrl', '-config', at('config'), '-keyfile', at('key.pem'), '-cert', at('ca.pem'), '-out', at('crl.pem')])
    const crl = await readFile(at('crl.pem'))
    await refusedAs('CRL_UNTRUSTED', crl)
    const certificate = new X509Certificate(await readFile(at('ca.pem')))
    registered.push({ certificate, find: (serial) => Promise.resolve(serial === 'ABCDEF' ? theirs : null) })
    const imported = await importer.import('acme', crl, BY)
    assert.deepEqual([imported.number, imported.issuer], ['31', `O=Corp, CN=${name}`])
    assert.deepEqual(
      new Map(imported.entries.map(({ serial, outcome }) => [serial, outcome])),
      new Map([
        [ours.serial, 'unknown'],
        ['ABCDEF', 'revoked'],
      ]),
    )
    assert.equal((await station.certificates.get('acme', ours.serial)).state, 'valid')
    assert.equal((await station.certificates.get('acme', theirs.serial)).state, 'revoked')
  }
})

test('whatever is no CRL, or not one to be acted on, is refused by name; fuzz: the parser only ever says RangeError', async () => {
  const crl = await crlOf([entry((await issue('fuzz')).serial, 'certificateHold'), entry('01')])
  const cut = [
    Buffer.alloc(0),
    Buffer.from('hello'),
    crl.subarray(0, 100),
    Buffer.concat([crl, Buffer.of(0)]),
    Buffer.from('-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----'),
  ]
  for (const body of cut) await refusedAs('CRL_MALFORMED', body)
  const deep = Buffer.concat(Array.from({ length: 20_000 }, () => Buffer.from([0x30, 0x84, 0x7f, 0xff, 0xff, 0xff])))
  await refusedAs('CRL_MALFORMED', deep)
  const changed = fc
    .array(fc.tuple(fc.nat(crl.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 })
    .map((changes) => {
      const bytes = Buffer.from(crl)
      for (const [place, value] of changes) bytes[place] = value
      return bytes
    })
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 300 })), (bytes) => {
      try {
        const { entries } = decodeCrl(bytes)
        assert.ok(entries.every(({ serial }) => /^[0-9A-F]*$/.test(serial)))
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error))
      }
    }),
    { numRuns: 5_000, verbose: 1 },
  )
})

test('a list of many is read in time that grows with it', async () => {
  const entries = Array.from({ length: 50_000 }, (_, i) => entry((0x100000 + i).toString(16).toUpperCase()))
  const crl = await crlOf(entries)
  const startedMs = systemClock.monotonicMs()
  assert.equal(decodeCrl(crl).entries.length, 50_000)
  const tookMs = systemClock.monotonicMs() - startedMs
  assert.ok(tookMs < 5_000, `${tookMs} ms`)
})
