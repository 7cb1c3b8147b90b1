import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { InjectOptions } from 'fastify'
import { SignJWT, UnsecuredJWT } from 'jose'
import type { AuditEntry } from '../../contracts/audit.ts'
import type { Conversation } from '../../contracts/conversation.ts'
import { newId } from '../../kernel/ids.ts'
import { systemClock } from '../../kernel/time.ts'
import { API_PREFIX } from './context.ts'
import { actionOf } from './request-audit.ts'
import { ROUTES_BY_RIGHT } from './testing/access-matrix.ts'
import { ApiFixture, TOKEN } from './testing/api-fixture.ts'

type Headers = Record<string, string>
type Method = NonNullable<InjectOptions['method']>
type Holder = 'admin' | 'operator' | 'viewer' | 'agent' | 'narrow'

const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` })
const HOUR_MS = 3_600_000

/** What each may do, said here once more and by itself. */
const OPERATOR_WRITES = [
  'alerts',
  'anomalies',
  'conversations',
  'devices',
  'external-alerts',
  'findings',
  'models',
  'proposals',
  'rejected',
  'rules',
  'webhooks',
]
const HIDDEN_FROM_VIEWERS = ['users', 'api-keys', 'audit', 'enrolment-tokens', 'dead-letters']
const AGENT_READS = ['agents', 'alerts', 'anomalies', 'conversations', 'events', 'proposals']
const MAY: Readonly<Record<Holder, (action: string, kind: string) => boolean>> = {
  admin: () => true,
  operator: (action, kind) => action === 'read' || (action === 'write' && OPERATOR_WRITES.includes(kind)),
  viewer: (action, kind) => action === 'read' && !HIDDEN_FROM_VIEWERS.includes(kind),
  agent: (action, kind) => action === 'read' && AGENT_READS.includes(kind),
  // An operator's key with the one scope read:alerts.
  narrow: (action, kind) => action === 'read' && kind === 'alerts',
}

const ROUTES = Object.entries(ROUTES_BY_RIGHT).flatMap(([right, routes]) => routes.map((route) => ({ route, right })))
/** Asked for on every route; of the others each on every fifth: all are refused before the route matters. */
const EVERYWHERE = new Set(['nobody', 'revoked key', 'logged out', 'expired', 'alg none', 'wrong audience', 'wrong signature'])
let api: ApiFixture
let known: Record<string, { headers: Headers; as: Holder; actor: string }>
let strangers: Record<string, Headers>
let operatorKey: Headers
let otherKey: Headers
let otherActor: string
let agentToken: Headers

async function keyOf(role: string, scopes?: string[]): Promise<{ id: string; actor: string; headers: Headers; secret: string }> {
  const made = await api.ask('POST', '/api-keys', { body: { name: `a ${role}`, role, ...(scopes === undefined ? {} : { scopes }) } })
  assert.equal(made.statusCode, 201, made.body)
  const { key, secret } = made.json<{ key: { id: string }; secret: string }>()
  return { id: key.id, actor: `api-key:${key.id}`, secret, headers: bearer(secret) }
}
async function tokenOf(secret: string): Promise<string> {
  const answer = await api.server.inject({ method: 'POST', url: '/api/v1/auth/token', payload: { token: secret } })
  return answer.json<{ accessToken: string }>().accessToken
}

/** Tokens that are nearly right, each wrong in one way, made with the key that signs the right ones. */
async function forgeries(): Promise<Record<string, Headers>> {
  const right = await tokenOf(TOKEN)
  const [head = '', body = ''] = right.split('.')
  const header = JSON.parse(Buffer.from(head, 'base64url').toString()) as { alg: string; kid: string; typ: string }
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, string | number>
  const keys = await api.services.documents.collection<{ secret: Uint8Array }>({ name: 'token-keys', indexes: [] })
  const secret = (await keys.get(header.kid))?.secret ?? new Uint8Array(32)
  const sign = (changes: object, headers: object = {}, key: Uint8Array = secret) =>
    new SignJWT({ ...claims, ...changes }).setProtectedHeader({ ...header, ...headers }).sign(key)
  const nowS = Math.floor(systemClock.nowMs() / 1_000)
  const tokens = {
    expired: await sign({ iat: nowS - 100, exp: nowS - 1 }),
    'alg none': new UnsecuredJWT(claims).encode(),
    'alg none with a signature': `${Buffer.from(JSON.stringify({ ...header, alg: 'none' })).toString('base64url')}.${body}.${right.split('.')[2] ?? ''}`,
    'another algorithm with the right key': await sign({}, { alg: 'HS512' }, Buffer.concat([secret, secret])),
    'wrong audience': await sign({ aud: 'another-api' }),
    'wrong issuer': await sign({ iss: 'another' }),
    'wrong signature': await sign({}, {}, new Uint8Array(32).fill(7)),
    'no key id': await sign({}, { kid: undefined }),
    'unknown key id': await sign({}, { kid: newId(0) }),
    'another type of token': await sign({}, { typ: 'JWT' }),
    'no end': await sign({ exp: undefined }),
    'a session that is not there': await sign({ sid: newId(0) }),
    'another subject': await sign({ sub: 'user:root' }),
  }
  return Object.fromEntries(Object.entries(tokens).map(([name, token]) => [name, bearer(token)]))
}

before(async () => {
  api = await ApiFixture.open({ loginsPerMinuteMax: 10_000 }, { refusalKindsMax: 10_000 })
  const [operator, other, viewer, narrow, revoked, expired] = await Promise.all([
    ...[keyOf('operator'), keyOf('operator'), keyOf('viewer'), keyOf('operator', ['read:alerts']), keyOf('admin'), keyOf('admin')],
  ])
  assert.ok(operator && other && viewer && narrow && revoked && expired)
  const body = { agentId: 'outside', role: 'historian', name: 'Outside', bio: '' }
  await api.ask('POST', '/agents', { body })
  const agent = (await api.ask('POST', '/agents/outside/token')).json<{ accessToken: string }>().accessToken
  const [ended, byRevoked] = [await tokenOf(TOKEN), await tokenOf(revoked.secret)]
  await api.server.inject({ method: 'POST', url: '/api/v1/auth/revoke', headers: bearer(ended) })
  await api.ask('POST', `/api-keys/${revoked.id}/revoke`)
  const keys = await api.services.documents.collection<{ expiresAt: number }>({ name: 'api-keys', indexes: [] })
  await keys.update(expired.id, { $set: { expiresAt: systemClock.nowMs() - HOUR_MS } })
  ;[operatorKey, otherKey, otherActor, agentToken] = [operator.headers, other.headers, other.actor, bearer(agent)]
  known = {
    'admin token': { headers: bearer(TOKEN), as: 'admin', actor: 'user:admin' },
    'admin access token': { headers: bearer(await tokenOf(TOKEN)), as: 'admin', actor: 'user:admin' },
    'operator key': { headers: operator.headers, as: 'operator', actor: operator.actor },
    'operator access token': { headers: bearer(await tokenOf(operator.secret)), as: 'operator', actor: operator.actor },
    'viewer key': { headers: viewer.headers, as: 'viewer', actor: viewer.actor },
    'agent token': { headers: agentToken, as: 'agent', actor: 'agent:outside' },
    'key with another scope': { headers: narrow.headers, as: 'narrow', actor: narrow.actor },
    'access token of a key with another scope': { headers: bearer(await tokenOf(narrow.secret)), as: 'narrow', actor: narrow.actor },
  }
  strangers = {
    nobody: {},
    'wrong token': bearer('wrong'),
    'another scheme': { authorization: `Basic ${Buffer.from(`admin:${TOKEN}`).toString('base64')}` },
    'made-up cookie': { cookie: 'fleetpulse_session=made-up' },
    'revoked key': revoked.headers,
    'expired key': expired.headers,
    'access token of a revoked key': bearer(byRevoked),
    'logged out': bearer(ended),
    ...(await forgeries()),
  }
})
after(() => api.close())

/** Asks so that who is let in gets no further than the body: nothing is done. */
async function statusOf(route: string, headers: Headers): Promise<number> {
  const [method = '', path = ''] = route.split(' ')
  const hasBody = method === 'POST' || method === 'PUT' || method === 'PATCH'
  const url = `/api/v1${path.replace(/\{[^}]+\}/g, 'x-1')}`
  const answer = await api.server.inject({
    ...{ method: method as Method, url },
    ...(hasBody ? { headers: { ...headers, 'content-type': 'text/x-nothing' }, payload: 'x' } : { headers }),
  })
  return answer.statusCode
}

describe('who may call what', () => {
  it('is said of every route', async () => {
    const { paths } = (await api.server.inject('/openapi.json')).json<{ paths: Record<string, Record<string, object>> }>()
    const there = Object.entries(paths).flatMap(([path, item]) =>
      ['get', 'post', 'put', 'patch', 'delete'].flatMap((method) =>
        method in item ? [`${method.toUpperCase()} ${path.slice('/api/v1'.length)}`] : [],
      ),
    )
    const said = ROUTES.map(({ route }) => route)
    assert.deepEqual(
      there.filter((route) => !said.includes(route)),
      [],
      'a route without a line in testing/access-matrix.ts',
    )
    assert.deepEqual(
      said.filter((route) => !there.includes(route)),
      [],
      'a line without a route',
    )
    assert.equal(new Set(said).size, said.length)
  })

  it('is answered right for every role, token and key on every route, and every refusal is in the trail', async (t) => {
    const wrong: string[] = []
    const refusals = new Set<string>()
    const counts = { questions: 0, unknown: 0, forbidden: 0, 'let in': 0 }
    const ask = async (route: string, who: string, headers: Headers, right: string): Promise<void> => {
      const [action = '', kind = ''] = right.split(' ')
      const { as, actor = 'anonymous' } = known[who] ?? {}
      const may = right === 'open' || (as !== undefined && (kind === 'session' || MAY[as](action, kind)))
      const status = await statusOf(route, headers)
      const is = status === 401 ? 'unknown' : status === 403 ? 'forbidden' : 'let in'
      const shouldBe = may ? 'let in' : as === undefined ? 'unknown' : 'forbidden'
      if (is !== shouldBe || status >= 500) wrong.push(`${route} as ${who}: ${is} (${status}), not ${shouldBe}`)
      if (is !== 'let in') refusals.add(`${actor} ${nameOf(route)}`)
      counts.questions++
      counts[is]++
    }
    for (const [place, { route, right }] of ROUTES.entries()) {
      const asking = Object.entries(strangers).filter(([who], i) => EVERYWHERE.has(who) || (i + place) % 5 === 0)
      const everybody = [...Object.entries(known).map(([who, { headers }]) => [who, headers] as const), ...asking]
      await Promise.all(everybody.map(([who, headers]) => ask(route, who, headers, right)))
    }
    assert.deepEqual(wrong, [])
    t.diagnostic(`${ROUTES.length} routes, ${JSON.stringify(counts)}, 0 wrong answers`)
    const told = await refusalsTold()
    assert.deepEqual(
      [...refusals].filter((each) => !told.has(each)),
      [],
      'refused, and not in the trail',
    )
  })

  it('the stream of what happens is closed to who is not known or may not', async () => {
    for (const [who, headers] of Object.entries(strangers)) assert.equal(await statusOf('GET /live', headers), 401, who)
    for (const headers of [agentToken, known['key with another scope']?.headers ?? {}])
      assert.equal(await statusOf('GET /live', headers), 403)
  })
})

/** `actionOf` of a route of the document. */
function nameOf(route: string): string {
  const [method = '', path = ''] = route.split(' ')
  return actionOf(method, `${API_PREFIX}${path.replace(/\{(\w+)\}/g, ':$1')}`)
}

/** Who was refused what, as the trail has it: repeated refusals of one kind are one entry and a count. */
async function refusalsTold(): Promise<Set<string>> {
  const told = new Set<string>()
  for (let cursor: string | null = ''; cursor !== null;) {
    const answer = await api.ask('GET', `/audit?outcome=refused&limit=1000${cursor === '' ? '' : `&cursor=${cursor}`}`)
    const { items, next }: { items: AuditEntry[]; next: string | null } = answer.json()
    for (const { actor, action } of items) told.add(`${actor} ${action}`)
    cursor = next
  }
  return told
}

describe('who may do what in a conversation', () => {
  type Step = 'read' | 'messages' | 'say' | 'join' | 'leave' | 'invite' | 'remove' | 'recheck' | 'terminate'
  const STEPS: Readonly<Record<Step, { method: Method; path: string; body?: object }>> = {
    read: { method: 'GET', path: '' },
    messages: { method: 'GET', path: '/messages' },
    say: { method: 'POST', path: '/messages', body: { content: 'hello', kind: 'message' } },
    join: { method: 'POST', path: '/join' },
    leave: { method: 'POST', path: '/leave' },
    invite: { method: 'POST', path: '/participants', body: { agent: 'historian' } },
    remove: { method: 'DELETE', path: '/participants/agent:historian' },
    recheck: { method: 'POST', path: '/recheck' },
    terminate: { method: 'POST', path: '/terminate' },
  }
  const all = Object.keys(STEPS) as Step[]
  const member: Step[] = ['read', 'messages', 'say', 'join', 'leave', 'recheck', 'terminate']
  const reading: Step[] = ['read', 'messages']

  async function begin(chatType: 'group' | 'private', agent: string): Promise<string> {
    const answer = await api.ask('POST', '/conversations', { body: { title: 'x', agents: [agent], chatType }, headers: operatorKey })
    assert.equal(answer.statusCode, 201, answer.body)
    return answer.json<Conversation>().id
  }
  /** Each step in a conversation of its own, so that none is in another's way. */
  async function let_(who: Headers, chatType: 'group' | 'private', agent = 'reporter'): Promise<Step[]> {
    const done: Step[] = []
    for (const step of all) {
      const { method, path, body } = STEPS[step]
      const id = await begin(chatType, agent)
      const answer = await api.ask(method, `/conversations/${id}${path}`, { headers: who, ...(body === undefined ? {} : { body }) })
      const isHidden = answer.statusCode === 404 && answer.json<{ detail: string }>().detail.startsWith('there is no conversation')
      if (answer.statusCode !== 403 && !isHidden) done.push(step)
      assert.ok(answer.statusCode < 500, answer.body)
    }
    return done
  }

  it('of several: by the role there, or what the role in the platform gives', async () => {
    assert.deepEqual(await let_(operatorKey, 'group'), all, 'owner')
    assert.deepEqual(await let_(bearer(TOKEN), 'group'), all, 'admin')
    assert.deepEqual(await let_(otherKey, 'group'), member, 'member')
    assert.deepEqual(await let_(known['viewer key']?.headers ?? {}, 'group'), reading, 'guest')
    assert.deepEqual(await let_(agentToken, 'group', 'outside'), reading, 'an agent that takes part')
    assert.deepEqual(await let_(agentToken, 'group'), [], 'an agent that does not')
  })

  it('of two: theirs alone, not even an administrator’s; and that somebody tried is in the trail', async () => {
    assert.deepEqual(await let_(operatorKey, 'private'), all, 'owner')
    for (const outsider of [bearer(TOKEN), otherKey, known['viewer key']?.headers ?? {}, agentToken])
      assert.deepEqual(await let_(outsider, 'private'), [])
    assert.ok((await refusalsTold()).has(`${otherActor} conversation.read`))
    const listed = (await api.ask('GET', '/conversations?limit=100', { headers: otherKey })).json<{ items: Conversation[] }>().items
    assert.ok(listed.length > 0 && listed.every(({ chatType }) => chatType === 'group'))
    assert.deepEqual(
      (await api.ask('GET', '/conversations', { headers: agentToken }))
        .json<{ items: Conversation[] }>()
        .items.map((each) => each.participants.some((one) => one.id === 'agent:outside')),
      Array<boolean>(9).fill(true),
    )
  })

  it('a retired agent’s token opens nothing any more', async () => {
    assert.equal((await api.ask('GET', '/agents', { headers: agentToken })).statusCode, 200)
    await api.ask('DELETE', '/agents/outside')
    assert.equal((await api.ask('GET', '/agents', { headers: agentToken })).statusCode, 401)
    assert.equal((await api.ask('POST', '/agents/outside/token')).statusCode, 409)
  })

  it('a key that could make keys would outlive its revocation: none can', async () => {
    const admin = await keyOf('admin')
    assert.equal((await api.ask('GET', '/api-keys', { headers: admin.headers })).statusCode, 200)
    const body = { name: 'more', role: 'viewer' }
    assert.equal((await api.ask('POST', '/api-keys', { headers: admin.headers, body })).statusCode, 403)
    const listed = (await api.ask('GET', '/api-keys?limit=100')).body
    assert.ok(!listed.includes(admin.secret.slice(-43)) && !listed.includes('"hash"'))
  })
})
