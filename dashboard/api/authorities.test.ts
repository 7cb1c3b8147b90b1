import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { after, before, test } from 'node:test'
import { newPrivateKeyPem } from '../../provisioning/ca/ca-key.ts'
import { publicKeyOf } from '../../provisioning/ca/make-pki.ts'
import type { AuthorityOutcome } from '../../provisioning/ca/authority-orders.ts'
import { ApiFixture, problemOf } from './testing/api-fixture.ts'

const PATH = '/certificates/authorities'

interface Item {
  id: string
  role: string
  state: string
  keyId: string
  pem: string
  validCertificates?: number
}

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open()
})
after(() => api.close())

async function list(): Promise<Item[]> {
  const answer = await api.ask('GET', PATH)
  assert.equal(answer.statusCode, 200, answer.body)
  return answer.json<{ items: Item[] }>().items
}

async function issue(device: string): Promise<string> {
  const signed = await api.authority.signDevice({ tenant: 'default', device, publicKey: publicKeyOf(await newPrivateKeyPem()) })
  return (await api.services.certificates.record(signed, { tenant: 'default', device }, 'test')).serial
}

test('CAs are listed, a new one takes over, and the old one is retired when nobody needs it, or by force', async () => {
  assert.deepEqual(
    (await list()).map(({ id, state }) => [id, state]),
    [
      ['root', 'online'],
      ['issuing', 'issuing'],
    ],
  )
  const serial = await issue('d1')
  const rolled = await api.ask('POST', `${PATH}/roll`)
  assert.equal(rolled.statusCode, 200, rolled.body)
  assert.equal(rolled.json<AuthorityOutcome>().id, 'issuing-2')
  const items = await list()
  assert.deepEqual(
    items.map(({ id, state, validCertificates }) => [id, state, validCertificates]),
    [
      ['root', 'online', undefined],
      ['issuing', 'accepted', 1],
      ['issuing-2', 'issuing', 0],
    ],
  )
  assert.ok(items.every(({ pem }) => new X509Certificate(pem).ca))

  const inUse = problemOf(await api.ask('POST', `${PATH}/issuing/retire`, { body: {} }))
  assert.deepEqual([inUse.status, inUse.code], [409, 'CONFLICT'])
  assert.match(inUse.detail, /1 valid certificates of issuing are in use/)
  const forced = await api.ask('POST', `${PATH}/issuing/retire`, { body: { force: true, reason: 'cACompromise' } })
  assert.equal(forced.json<AuthorityOutcome>().revoked, 1)
  const record = await api.services.certificates.get('default', serial)
  assert.deepEqual([record.state, record.reason], ['revoked', 'cACompromise'])
  assert.equal((await list()).find(({ id }) => id === 'issuing')?.state, 'retired')

  const { items: trail } = (await api.ask('GET', '/audit?limit=10')).json<{
    items: { action: string; actor: string; subject: { kind: string; id: string } }[]
  }>()
  for (const [action, id] of [
    ['certificate.authority-roll', 'issuing-2'],
    ['certificate.authority-retire', 'issuing'],
  ]) {
    assert.ok(
      trail.some((entry) => entry.action === action && entry.subject.id === id && entry.actor.startsWith('user:')),
      action,
    )
  }
  assert.ok(trail.some((entry) => entry.action === 'certificate.revoke' && entry.actor.startsWith('user:')))
})

test('what cannot be done is a problem that says why', async () => {
  const cases: [string, object, number, RegExp][] = [
    ['issuing-9/retire', {}, 404, /no issuing CA "issuing-9"/],
    ['issuing-2/retire', {}, 409, /signs the certificates of now/],
    ['import', { pem: 'no PEM' }, 400, /not PEM text/],
    ['import', {}, 400, /pem/],
    ['root-crl', { crl: 'no CRL' }, 400, /neither PEM nor DER/],
    ['issuing/retire', { reason: 'boredom' }, 400, /reason/],
  ]
  for (const [path, body, status, says] of cases) {
    const problem = problemOf(await api.ask('POST', `${PATH}/${path}`, { body }))
    assert.equal(problem.status, status, path)
    assert.match(problem.detail, says)
  }
})

test('a request is made and listed until its certificate comes', async () => {
  const { id, csrPem } = (await api.ask('POST', `${PATH}/request`)).json<AuthorityOutcome>()
  assert.match(csrPem ?? '', /^-----BEGIN CERTIFICATE REQUEST-----/)
  const { requests } = (await api.ask('GET', PATH)).json<{ requests: { id: string }[] }>()
  assert.deepEqual(
    requests.map((request) => request.id),
    [id],
  )
})
