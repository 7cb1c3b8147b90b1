import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { FastifyRequest } from 'fastify'
import { AccessError, LimitError } from '../../kernel/errors.ts'
import { Secret } from '../../kernel/secret.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { ApiConfig } from './config.ts'
import { ApiConfigSchema } from './config.ts'
import { Principals, SESSION_COOKIE } from './principals.ts'
import { defaultsOf } from './testing/api-fixture.ts'

const NEAR = '10.0.0.1'
const FAR = '10.0.0.2'

function request(headers: Record<string, string>, method = 'GET', ip = NEAR): FastifyRequest {
  return { headers, method, ip } as unknown as FastifyRequest
}
const bearer = (token: string): FastifyRequest => request({ authorization: `Bearer ${token}` })

/** Two processes over the same documents. */
async function processes(t: TestContext, changes: Partial<ApiConfig> = {}) {
  const clock = new VirtualClock()
  const documents = await lmdbDocuments(t)
  const config = defaultsOf(ApiConfigSchema, { sessionLifetimeMs: 60_000, loginsPerMinuteMax: 3, ...changes })
  const one = () => new Principals({ adminToken: new Secret('right'), documents, config, clock })
  return { clock, here: one(), there: one() }
}
const refused = (promise: Promise<unknown>, why?: string) => assert.rejects(promise, AccessError, why)

test('wrong tokens of one address are counted by the minute; a right one always opens', async (t) => {
  const { clock, here } = await processes(t)
  const wrong = (ip: string) => here.authenticate(request({ authorization: 'Bearer wrong' }, 'GET', ip))
  for (let i = 0; i < 3; i++) await refused(wrong(NEAR))
  await assert.rejects(wrong(NEAR), LimitError)
  await assert.rejects(here.logIn('wrong', NEAR), LimitError)
  await assert.rejects(here.refresh('wrong', NEAR), LimitError)
  await refused(wrong(FAR), 'another address has its own count')
  assert.equal((await here.authenticate(request({ authorization: 'bearer right' }))).id, 'admin')
  await clock.advance(60_000)
  await refused(wrong(NEAR))
})

test('wrong tokens are counted in all processes together, by address', async (t) => {
  const { clock, here, there } = await processes(t)
  const wrong = (at: Principals, ip = NEAR) => at.authenticate(request({ authorization: 'Bearer wrong' }, 'GET', ip))
  const all = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => wrong(i % 2 === 0 ? here : there)))
  const refusals = all.filter((each) => each.status === 'rejected' && each.reason instanceof AccessError)
  assert.equal(refusals.length, 3, 'three tries, wherever they came')
  for (const at of [here, there]) {
    await assert.rejects(wrong(at), LimitError)
    await refused(wrong(at, FAR))
    assert.equal((await at.authenticate(bearer('right'))).id, 'admin')
  }
  await clock.advance(60_000)
  await Promise.all([refused(wrong(here)), refused(wrong(there))])
})

test('a browser’s session is known to every process, and ends with its time, its logout or the key that opened it', async (t) => {
  const { clock, here, there } = await processes(t)
  const cookieOf = async (token: string) => ({ cookie: `other=1; ${SESSION_COOKIE}=${(await here.logIn(token, NEAR)).cookie}` })
  const [kept, closed] = [await cookieOf('right'), await cookieOf('right')]
  const { key, secret } = await here.keys.create(
    'default',
    { name: 'Ana', role: 'operator', scopes: ['*:*'], lifetimeMs: 3_600_000 },
    'user:admin',
  )
  const byKey = await cookieOf(secret)
  assert.deepEqual((await there.authenticate(request(byKey))).roles, ['operator'])
  assert.equal((await there.logOut(request(closed)))?.id, 'admin')
  await refused(here.authenticate(request(closed)))
  await there.keys.revoke('default', key.id, 'user:admin')
  await refused(here.authenticate(request(byKey)), 'its key is revoked')
  await clock.advance(59_999)
  await there.authenticate(request(kept))
  await clock.advance(1)
  await refused(there.authenticate(request(kept)))
})

test('sessions are bounded: the one that ends first goes', async (t) => {
  const { clock, here } = await processes(t, { sessionsMax: 10 })
  const cookies: { cookie: string }[] = []
  for (let i = 0; i < 11; i++) {
    cookies.push({ cookie: `${SESSION_COOKIE}=${(await here.logIn('right', NEAR)).cookie}` })
    await clock.advance(1)
  }
  await refused(here.authenticate(request(cookies[0] as { cookie: string })))
  for (const cookie of cookies.slice(1)) await here.authenticate(request(cookie))
})

test('changes by cookie come from the page’s own origin only; a token may come from anywhere', async (t) => {
  const { here } = await processes(t)
  const cookie = `${SESSION_COOKIE}=${(await here.logIn('right', NEAR)).cookie}`
  const from = (origin: string, method: string) => here.authenticate(request({ cookie, host: 'fleet:8080', origin }, method))
  await from('http://fleet:8080', 'POST')
  await from('https://evil', 'GET')
  for (const origin of ['http://fleet', 'http://evil', 'null', 'http://fleet:8080.evil', 'http://fleet:8080/x'])
    await refused(from(origin, 'POST'), origin)
  await here.authenticate(request({ authorization: 'Bearer right', host: 'fleet:8080', origin: 'http://evil' }, 'POST'))
})

test('an access token is good for its minutes, a refresh token for one use, in whichever process', async (t) => {
  const { clock, here, there } = await processes(t, { accessTokenLifetimeMs: 10_000, loginsPerMinuteMax: 100 })
  const first = await here.exchange('right', NEAR)
  assert.equal((await there.authenticate(bearer(first.accessToken))).id, 'admin')
  await clock.advance(11_000)
  await refused(there.authenticate(bearer(first.accessToken)), 'expired')
  const second = await there.refresh(String(first.refreshToken), NEAR)
  assert.equal((await here.authenticate(bearer(second.accessToken))).id, 'admin')
  assert.notEqual(second.refreshToken, first.refreshToken)
  await refused(here.refresh(String(first.refreshToken), NEAR), 'spent')
  for (const principals of [here, there])
    await refused(principals.authenticate(bearer(second.accessToken)), 'its session is ended for both')
  await refused(there.refresh(String(second.refreshToken), FAR), 'the thief’s token too')
})

test('of many uses of one refresh token at once at most one is answered, and the session is ended', async (t) => {
  const { here, there } = await processes(t, { loginsPerMinuteMax: 100 })
  const { refreshToken } = await here.exchange('right', NEAR)
  const all = await Promise.allSettled(
    Array.from({ length: 8 }, (_, i) => (i % 2 === 0 ? here : there).refresh(String(refreshToken), NEAR)),
  )
  const won = all.filter((each) => each.status === 'fulfilled')
  assert.ok(won.length <= 1)
  for (const { value } of won) await refused(here.authenticate(bearer(value.accessToken)))
})

test('who logs out or loses its key is refused at once by every process, with the token it has', async (t) => {
  const { here, there } = await processes(t, { loginsPerMinuteMax: 100 })
  const mine = await here.exchange('right', NEAR)
  assert.equal((await there.revoke(undefined, mine.accessToken))?.id, 'admin')
  await refused(here.authenticate(bearer(mine.accessToken)))
  const other = await here.exchange('right', NEAR)
  await there.revoke(String(other.refreshToken), undefined)
  await refused(here.authenticate(bearer(other.accessToken)))
  assert.equal(await here.revoke('fpr_nothing', 'nothing'), undefined)
  const { key, secret } = await here.keys.create(
    'default',
    { name: 'CI', role: 'viewer', scopes: ['read:*'], lifetimeMs: 3_600_000 },
    'user:admin',
  )
  const byKey = await there.exchange(secret, NEAR)
  assert.deepEqual((await here.authenticate(bearer(byKey.accessToken))).scopes, ['read:*'])
  await here.keys.revoke('default', key.id, 'user:admin')
  for (const token of [secret, byKey.accessToken]) await refused(there.authenticate(bearer(token)))
  await refused(there.refresh(String(byKey.refreshToken), FAR))
})

test('an API key is shown once and kept as its hash; it ends with its time, and says when it was used', async (t) => {
  const { clock, here } = await processes(t)
  const { key, secret } = await here.keys.create(
    'default',
    { name: 'CI', role: 'viewer', scopes: ['read:*'], lifetimeMs: 60_000 },
    'user:admin',
  )
  assert.match(secret, /^fpk_[0-9a-z]{26}_[A-Za-z0-9_-]{43}$/)
  assert.equal(key.lastUsedAt, null)
  const holder = await here.authenticate(bearer(secret))
  assert.deepEqual([holder.kind, holder.id, holder.roles], ['api-key', key.id, ['viewer']])
  const seen = JSON.stringify(await here.keys.get('default', key.id))
  assert.ok(!seen.includes(secret.slice(-43)) && !seen.includes('hash'))
  assert.equal((await here.keys.get('default', key.id)).lastUsedAt, clock.nowMs())
  await refused(here.authenticate(bearer(`${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`)))
  await clock.advance(60_000)
  await refused(here.authenticate(bearer(secret)))
})

test('keys that sign tokens are replaced; what the old one signed lives out its time', async (t) => {
  const { clock, here, there } = await processes(t, {
    tokenKeyLifetimeMs: 60_000,
    accessTokenLifetimeMs: 50_000,
    sessionLifetimeMs: 3_600_000,
  })
  const kidOf = (token: string) => (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid
  const old = await here.exchange('right', NEAR)
  await clock.advance(30_000)
  assert.equal(kidOf((await there.exchange('right', NEAR)).accessToken), kidOf(old.accessToken))
  const late = await here.exchange('right', NEAR)
  await clock.advance(30_000)
  const renewed = await there.exchange('right', NEAR)
  assert.notEqual(kidOf(renewed.accessToken), kidOf(late.accessToken))
  for (const { accessToken } of [late, renewed]) await here.authenticate(bearer(accessToken))
})
