import assert from 'node:assert/strict'
import { readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { ConflictError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock, VirtualClock, type Clock } from '../../kernel/time.ts'
import { ISSUING_EXTENSIONS, OfflineRoot } from '../testing/offline-root.ts'
import { openssl, run, skipWithout } from '../testing/openssl.ts'
import { temporaryFolder, testConfig } from '../testing/station.ts'
import { AuthorityChanges } from './authority-changes.ts'
import { CertificateAuthority } from './authority.ts'
import { newPrivateKeyPem } from './ca-key.ts'
import { publicKeyOf } from './make-pki.ts'
import { toPem, type SignedCertificate } from './sign-certificate.ts'

const DAY_MS = 86_400_000
const needsOpenssl = { skip: skipWithout('openssl') }
const cleanups: (() => Promise<unknown>)[] = []
after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

async function world(options: { clock?: Clock; crossOverDelayMs?: number; dataDir?: string } = {}) {
  const { clock = systemClock, crossOverDelayMs = 0 } = options
  const dataDir = options.dataDir ?? (await temporaryFolder())
  cleanups.push(() => rm(dataDir, { recursive: true, force: true }))
  const config = testConfig({ rootCrlLifetimeDays: 30, pkiHttpPort: 8081 })
  const authority = new CertificateAuthority({ dataDir, config, clock, log: silentLogger, pkiUrl: () => 'http://pki.example:8081' })
  await authority.start()
  cleanups.push(() => authority.stop())
  return { dataDir, clock, authority, changes: new AuthorityChanges(authority, { crossOverDelayMs }) }
}
type World = Awaited<ReturnType<typeof world>>

async function sign({ authority }: World): Promise<SignedCertificate> {
  return authority.signDevice({ tenant: 'acme', device: 'd1', publicKey: publicKeyOf(await newPrivateKeyPem()) })
}

/** What openssl says of a device certificate, given the trust, an empty CRL of each issuing CA, and the roots' CRLs. */
async function verified({ authority, clock, dataDir }: World, certificate: SignedCertificate, trustPem = authority.caPem) {
  const nowMs = clock.nowMs()
  const crls: string[] = []
  for (const issuer of authority.issuers) {
    const content = { number: 1, thisUpdateMs: nowMs - 60_000, nextUpdateMs: nowMs + 60_000, entries: [] }
    crls.push(toPem('X509 CRL', await authority.signCrl(content, issuer)))
  }
  for (const root of authority.roots) if (root.crl !== undefined) crls.push(toPem('X509 CRL', root.crl.der))
  await writeFile(join(dataDir, 'trust.pem'), trustPem)
  await writeFile(join(dataDir, 'crls.pem'), crls.join(''))
  await writeFile(join(dataDir, 'chain.pem'), authority.issuers.map((ca) => authority.chainPemOf(ca.keyId)).join(''))
  await writeFile(join(dataDir, 'device.pem'), certificate.pem)
  return run('openssl', [
    ...['verify', '-x509_strict', '-attime', String(Math.floor(nowMs / 1_000)), '-purpose', 'sslclient', '-crl_check_all'],
    ...['-CRLfile', join(dataDir, 'crls.pem'), '-CAfile', join(dataDir, 'trust.pem'), '-untrusted', join(dataDir, 'chain.pem')],
    join(dataDir, 'device.pem'),
  ])
}

test(
  'a new issuing CA is trusted at once and signs after the delay; both live, and openssl verifies both with all CRLs',
  needsOpenssl,
  async () => {
    const clock = new VirtualClock(systemClock.nowMs())
    const here = await world({ clock, crossOverDelayMs: 10_000 })
    const { authority, changes } = here
    const old = await sign(here)
    let told = 0
    authority.onAuthorityChange(() => told++)
    const { id, issuesFromMs } = await changes.roll()
    assert.equal(id, 'issuing-2')
    assert.equal(issuesFromMs, clock.nowMs() + 10_000)
    assert.equal(told, 1)
    assert.equal(authority.trusted.length, 3)
    assert.equal((await sign(here)).issuer, old.issuer)
    await clock.advance(10_000)
    assert.equal(told, 2)
    const fresh = await sign(here)
    assert.notEqual(fresh.issuer, old.issuer)
    assert.equal(authority.current.id, 'issuing-2')
    for (const certificate of [old, fresh]) {
      const outcome = await verified(here, certificate)
      assert.equal(outcome.code, 0, outcome.stderr)
    }
    const { stdout: text } = await run('openssl', ['x509', '-noout', '-text', '-in', join(here.dataDir, 'device.pem')])
    assert.match(text, /http:\/\/pki\.example:8081\/crl\/issuing-2\.crl/)
    assert.match(await openssl(['x509', '-noout', '-text', '-in', join(here.dataDir, 'pki/issuing-2.crt')]), /crl\/root\.crl/)
    // Another process of the same folder sees the same.
    await authority.stop()
    const again = await world({ clock, dataDir: here.dataDir })
    assert.deepEqual(
      again.authority.issuers.map((ca) => ca.id),
      ['issuing', 'issuing-2'],
    )
    assert.equal(again.authority.current.id, 'issuing-2')
  },
)

test('a retired CA is in the CRL of its root, and out of the trust; the one that signs cannot be retired', needsOpenssl, async () => {
  const here = await world()
  const { authority, changes } = here
  const old = await sign(here)
  await assert.rejects(changes.retire('issuing', 'superseded'), ConflictError)
  await assert.rejects(changes.retire('issuing-9', 'superseded'), NotFoundError)
  await changes.roll()
  const trustBefore = authority.caPem
  await assert.rejects(changes.retire('issuing-2', 'superseded'), /signs the certificates of now/)
  assert.equal(authority.clientIssuersPem, undefined)
  await changes.retire('issuing', 'cACompromise')
  await changes.retire('issuing', 'superseded')
  assert.equal(authority.trusted.length, 2)
  assert.equal(await readFile(join(here.dataDir, 'pki/ca.pem'), 'utf8'), authority.caPem)
  assert.equal(authority.clientIssuersPem, authority.issuing.toString())
  const crl = await openssl(['crl', '-noout', '-text', '-in', join(here.dataDir, 'pki/root.crl')])
  assert.match(crl, new RegExp(`Serial Number: ${authority.issuers[0].certificate.serialNumber}`))
  assert.match(crl, /CA Compromise/)
  const refused = await verified(here, old, trustBefore)
  assert.match(refused.stderr, /certificate revoked/)
  const fresh = await verified(here, await sign(here))
  assert.equal(fresh.code, 0, fresh.stderr)
})

test('an issuing CA signed by a root elsewhere: request, import, cross-over, CRL of that root', needsOpenssl, async () => {
  const here = await world()
  const { authority, changes, dataDir } = here
  const offline = await OfflineRoot.make(dataDir)
  const old = await sign(here)
  const { id, csrPem } = await changes.request()
  await writeFile(join(dataDir, 'ca.csr'), csrPem)
  const asked = await openssl(['req', '-verify', '-noout', '-text', '-in', join(dataDir, 'ca.csr')])
  assert.match(asked, /CA:TRUE, pathlen:0/)
  const signed = await offline.sign(csrPem, ISSUING_EXTENSIONS)
  await assert.rejects(changes.import(signed), /the certificate that signed .* is missing: give the whole chain/)
  await changes.import(signed + (await offline.certificatePem))
  assert.equal(authority.current.id, id)
  assert.deepEqual(
    authority.roots.map((root) => [root.id, root.isOurs, root.key === undefined]),
    [
      ['root', true, false],
      ['root-2', false, true],
    ],
  )
  assert.equal(authority.trusted.length, 4)
  // Devices of before know the old root only: our listeners go on with what all of them can verify.
  assert.equal(authority.serverIssuerKeyId, old.issuer)
  // That root may sign for others too: only our CAs count.
  assert.equal(authority.clientIssuersPem?.match(/BEGIN/g)?.length, 2)
  const fresh = await sign(here)
  const without = await verified(here, fresh)
  assert.match(without.stderr, /unable to get certificate CRL/)
  await changes.importRootCrl(await offline.crl())
  for (const certificate of [old, fresh]) {
    const outcome = await verified(here, certificate)
    assert.equal(outcome.code, 0, outcome.stderr)
  }
  await changes.retire('issuing', 'superseded')
  assert.equal(authority.serverIssuerKeyId, fresh.issuer)
  assert.equal(authority.trusted.length, 2)
})

test('a CRL of a root elsewhere: older, foreign, damaged, and one that revokes a CA in use are refused', needsOpenssl, async () => {
  const here = await world()
  const { changes, dataDir } = here
  const offline = await OfflineRoot.make(dataDir)
  const { csrPem } = await changes.request()
  const signed = await offline.sign(csrPem, ISSUING_EXTENSIONS)
  await changes.import(signed + (await offline.certificatePem))
  const good = await offline.crl()
  await changes.importRootCrl(good)
  await assert.rejects(changes.importRootCrl(good), /not newer than the one that is here/)
  await assert.rejects(changes.importRootCrl('no CRL'), /neither PEM nor DER/)
  const elsewhere = await temporaryFolder()
  cleanups.push(() => rm(elsewhere, { recursive: true, force: true }))
  await assert.rejects(changes.importRootCrl(await (await OfflineRoot.make(elsewhere)).crl()), /was not signed by/)
  await assert.rejects(changes.importRootCrl(await readFile(join(dataDir, 'pki/root.crl'), 'utf8')), /signed here, where its key is/)
  const later = await newerCrl(offline, signed)
  await assert.rejects(changes.importRootCrl(later), /revokes issuing-2, which is in use/)
})

/** A CRL is newer by a second at least: that is how exact its time is. */
async function newerCrl(offline: OfflineRoot, revoked: string): Promise<string> {
  const second = (): number => Math.floor(systemClock.nowMs() / 1_000)
  const before = second()
  while (second() === before) await offline.crl()
  return offline.crl(revoked)
}

test('what cannot be an issuing CA is not imported, and nothing is changed', needsOpenssl, async () => {
  const here = await world()
  const { authority, changes, dataDir } = here
  const offline = await OfflineRoot.make(dataDir)
  const rootPem = await offline.certificatePem
  const { csrPem } = await changes.request()
  const own = await openssl(['x509', '-in', join(dataDir, 'pki/issuing.crt')])
  const without = (line: RegExp): string => ISSUING_EXTENSIONS.replace(line, '')
  const cases: [string, RegExp][] = [
    ['no PEM', /not PEM text/],
    [own + rootPem, /none of the certificates is for a key that was requested here/],
    [(await offline.sign(csrPem, ISSUING_EXTENSIONS.replace('CA:true,pathlen:0', 'CA:false'))) + rootPem, /is not a CA/],
    [(await offline.sign(csrPem, without(/keyUsage.*\n/))) + rootPem, /may not sign certificates and CRLs/],
    [(await offline.sign(csrPem, ISSUING_EXTENSIONS.replace(',cRLSign', ''))) + rootPem, /may not sign certificates and CRLs/],
    [(await offline.sign(csrPem, `${without(/subjectKey.*\n/)}subjectKeyIdentifier=none\n`)) + rootPem, /has no subject key identifier/],
  ]
  const before = await readFile(join(dataDir, 'pki/authorities.json'), 'utf8')
  for (const [pem, says] of cases) {
    await assert.rejects(changes.import(pem), (error: unknown) => {
      assert.ok(error instanceof InvalidInputError)
      assert.match(error.message, says)
      return true
    })
    assert.equal(await readFile(join(dataDir, 'pki/authorities.json'), 'utf8'), before)
  }
  assert.equal(authority.issuers.length, 1)
})

test('without the key of its root it does not roll, and says what to do instead', async () => {
  const first = await world()
  await first.authority.stop()
  await rename(join(first.dataDir, 'pki/root.key'), join(first.dataDir, 'away.key'))
  const here = await world({ dataDir: first.dataDir })
  await assert.rejects(here.changes.roll(), (error: unknown) => error instanceof ConflictError && /ca request/.test(error.remedy ?? ''))
  assert.equal((await readdir(join(here.dataDir, 'pki'))).includes('issuing-2.key'), false)
})

test("our root's CRL is signed anew by itself before it ends", async () => {
  const clock = new VirtualClock(systemClock.nowMs())
  const { authority } = await world({ clock })
  const first = authority.roots[0]?.crl
  assert.ok(first !== undefined)
  await clock.advance(14 * DAY_MS)
  assert.equal(authority.roots[0]?.crl?.number, first.number)
  const renewed = new Promise<void>((resolve) => void authority.onAuthorityChange(resolve))
  await clock.advance(2 * DAY_MS)
  await renewed
  const second = authority.roots[0]?.crl
  assert.ok(second !== undefined && second.number > first.number)
  assert.ok(second.nextUpdateMs >= clock.nowMs() + 28 * DAY_MS)
})
