import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { systemClock } from '../../kernel/time.ts'
import { CertificateAuthority } from '../../provisioning/ca/authority.ts'
import { newPrivateKeyPem } from '../../provisioning/ca/ca-key.ts'
import { publicKeyOf } from '../../provisioning/ca/make-pki.ts'
import type { ImportedCrl } from '../../provisioning/revocation/crl-import.ts'
import { ApiFixture, problemOf } from './testing/api-fixture.ts'

let api: ApiFixture
let authority: CertificateAuthority
before(async () => {
  api = await ApiFixture.open({ bodyBytesMax: 4_096 })
  authority = api.authority
})
after(() => api.close())

function crl(...serials: string[]): Promise<Buffer> {
  const thisUpdateMs = systemClock.nowMs()
  const entries = serials.map((serial) => ({ serial, revokedAtMs: thisUpdateMs, reason: 'keyCompromise' as const }))
  return authority.signCrl({ number: 1, thisUpdateMs, nextUpdateMs: thisUpdateMs + 3_600_000, entries }, authority.issuers[0])
}

const asCrl = { 'content-type': 'application/pkix-crl' }

test('a CRL comes in as it is, larger than other requests may be; the answer tells of each entry, and the trail of who did it', async () => {
  const signed = await authority.signDevice({ tenant: 'default', device: 'd1', publicKey: publicKeyOf(await newPrivateKeyPem()) })
  await api.services.certificates.record(signed, { tenant: 'default', device: 'd1' }, 'test')
  const many = Array.from({ length: 500 }, (_, i) => (0x1000 + i).toString(16).toUpperCase())
  const answer = await api.ask('POST', '/crl-imports', { body: await crl(signed.serial, ...many), headers: asCrl })
  assert.equal(answer.statusCode, 200, answer.body)
  const { summary, entries } = answer.json<ImportedCrl>()
  assert.deepEqual(summary, { revoked: 1, 'already-revoked': 0, unknown: 500, ignored: 0 })
  assert.deepEqual(entries[0], { serial: signed.serial, reason: 'keyCompromise', outcome: 'revoked', device: 'd1' })
  const { items } = (await api.ask('GET', '/audit?limit=10')).json<{ items: { action: string; actor: string; subject: { id: string } }[] }>()
  assert.ok(items.some(({ action, actor, subject }) => action === 'certificate.revoke' && actor.startsWith('user:') && subject.id === signed.serial))
})

test('what is no CRL is refused with the rule that it breaks', async () => {
  const malformed = problemOf(await api.ask('POST', '/crl-imports', { body: Buffer.from('hello'), headers: asCrl }))
  assert.deepEqual([malformed.status, malformed.code], [400, 'CRL_MALFORMED'])
  const json = problemOf(await api.ask('POST', '/crl-imports', { body: {} }))
  assert.equal(json.status, 400)
  assert.match(json.detail, /no CRL in the request/)
})
