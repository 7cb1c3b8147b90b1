import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import { fastify, type FastifyInstance } from 'fastify'
import type { Principal } from '../../contracts/authorisation.ts'
import { LimitError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { ApiConfigSchema } from './config.ts'
import type { RouteContext } from './context.ts'
import { idempotency } from './idempotency.ts'
import { problemHandler } from './problem.ts'
import { defaultsOf } from './testing/api-fixture.ts'

/** One route that counts its calls, for people named in a header. */
async function counter(t: TestContext) {
  const clock = new VirtualClock()
  const state = { calls: 0, wait: Promise.resolve(), fail: undefined as Error | undefined }
  const context = {
    documents: await lmdbDocuments(t),
    clock,
    config: defaultsOf(ApiConfigSchema, { idempotencyLifetimeMs: 60_000 }),
    allow: (request: { headers: Record<string, string> }): Principal => ({ kind: 'user', id: request.headers.who ?? 'ana', tenant: request.headers.tenant ?? 'default', roles: ['admin'] }),
  }
  const server: FastifyInstance = fastify()
  server.setErrorHandler(problemHandler(silentLogger))
  await idempotency(server, context as unknown as RouteContext)
  server.post('/count', async (_request, reply) => {
    const call = ++state.calls
    await state.wait
    if (state.fail !== undefined) throw state.fail
    return reply.code(201).header('etag', `"${call}"`).send({ call })
  })
  server.get('/count', () => ({ call: ++state.calls }))
  t.after(() => server.close())
  const post = (headers: Record<string, string>, payload: object = { a: 1 }) => server.inject({ method: 'POST', url: '/count', headers, payload })
  return { server, post, state, clock }
}

test('the first answer is given again, with its headers, until it is forgotten', async (t) => {
  const { post, state, clock } = await counter(t)
  const first = await post({ 'idempotency-key': 'k' })
  const again = await post({ 'idempotency-key': 'k' })
  assert.equal(state.calls, 1)
  assert.deepEqual([again.statusCode, again.body, again.headers.etag, again.headers['content-type']], [201, first.body, '"1"', first.headers['content-type']])
  assert.equal(again.headers['idempotency-replayed'], 'true')
  assert.equal((await post({ 'idempotency-key': 'k' }, { a: 2 })).statusCode, 409, 'the key was used for something else')
  await post({ 'idempotency-key': 'other' })
  await post({})
  await post({})
  assert.equal(state.calls, 4, 'without a key everything is new')
  await clock.advance(60_000)
  assert.equal((await post({ 'idempotency-key': 'k' })).json<{ call: number }>().call, 5)
})

test('nobody gets the answer of another person or tenant', async (t) => {
  const { post, state } = await counter(t)
  for (const who of ['ana', 'bob']) for (const tenant of ['t1', 't2']) assert.equal((await post({ 'idempotency-key': 'k', who, tenant })).headers['idempotency-replayed'], undefined)
  assert.equal(state.calls, 4)
})

test('the same key twice at once is a conflict, and works again afterwards', async (t) => {
  const { post, state } = await counter(t)
  let release = (): void => undefined
  state.wait = new Promise((resolve) => (release = resolve))
  const first = post({ 'idempotency-key': 'k' })
  while (state.calls === 0) await new Promise((resolve) => setImmediate(resolve))
  assert.equal((await post({ 'idempotency-key': 'k' })).statusCode, 409)
  release()
  assert.equal((await first).statusCode, 201)
  assert.equal((await post({ 'idempotency-key': 'k' })).headers['idempotency-replayed'], 'true')
})

test('what may end differently the next time is not kept', async (t) => {
  const { post, state } = await counter(t)
  for (const failure of [new Error('ours'), new LimitError('too many')]) {
    state.fail = failure
    assert.ok([500, 429].includes((await post({ 'idempotency-key': 'k' })).statusCode))
  }
  state.fail = undefined
  assert.equal((await post({ 'idempotency-key': 'k' })).json<{ call: number }>().call, 3)
})

test('a key of a wrong length is refused; other methods take no notice of keys', async (t) => {
  const { post, server, state } = await counter(t)
  for (const key of ['', 'x'.repeat(256)]) assert.equal((await post({ 'idempotency-key': key })).statusCode, 400)
  await server.inject({ method: 'GET', url: '/count', headers: { 'idempotency-key': 'k' } })
  await server.inject({ method: 'GET', url: '/count', headers: { 'idempotency-key': 'k' } })
  assert.equal(state.calls, 2)
})
