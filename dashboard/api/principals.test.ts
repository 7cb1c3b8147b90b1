import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FastifyRequest } from 'fastify'
import { AccessError, LimitError } from '../../kernel/errors.ts'
import { Secret } from '../../kernel/secret.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { ApiConfigSchema } from './config.ts'
import { Principals, SESSION_COOKIE } from './principals.ts'
import { defaultsOf } from './testing/api-fixture.ts'

function request(headers: Record<string, string>, method = 'GET', ip = '10.0.0.1'): FastifyRequest {
  return { headers, method, ip } as unknown as FastifyRequest
}

function principals() {
  const clock = new VirtualClock()
  const config = defaultsOf(ApiConfigSchema, { sessionLifetimeMs: 60_000, loginsPerMinuteMax: 3 })
  return { clock, principals: new Principals({ adminToken: new Secret('right'), config, clock }) }
}

test('wrong tokens of one address are counted by the minute; a right one always opens', async () => {
  const { clock, principals: known } = principals()
  const wrong = (ip: string) => () => known.authenticate(request({ authorization: 'Bearer wrong' }, 'GET', ip))
  for (let i = 0; i < 3; i++) assert.throws(wrong('10.0.0.1'), AccessError)
  assert.throws(wrong('10.0.0.1'), LimitError)
  assert.throws(wrong('10.0.0.2'), AccessError, 'another address has its own count')
  assert.equal(known.authenticate(request({ authorization: 'bearer right' })).id, 'admin')
  await clock.advance(60_000)
  assert.throws(wrong('10.0.0.1'), AccessError)
})

test('a session ends when its time is over or it is closed', async () => {
  const { clock, principals: known } = principals()
  const admin = known.ofToken('right', '10.0.0.1')
  const cookie = `other=1; ${SESSION_COOKIE}=${known.open(admin)}`
  const closed = `${SESSION_COOKIE}=${known.open(admin)}`
  assert.equal(known.authenticate(request({ cookie })).tenant, 'default')
  known.close(request({ cookie: closed }))
  assert.throws(() => known.authenticate(request({ cookie: closed })), AccessError)
  await clock.advance(59_999)
  known.authenticate(request({ cookie }))
  await clock.advance(1)
  assert.throws(() => known.authenticate(request({ cookie })), AccessError)
})

test('sessions are bounded: the oldest goes', () => {
  const { principals: known } = principals()
  const admin = known.ofToken('right', '10.0.0.1')
  const cookies = Array.from({ length: 1_001 }, () => ({ cookie: `${SESSION_COOKIE}=${known.open(admin)}` }))
  assert.throws(() => known.authenticate(request(cookies[0] as { cookie: string })), AccessError)
  known.authenticate(request(cookies[1] as { cookie: string }))
  known.authenticate(request(cookies[1_000] as { cookie: string }))
})

test('changes by cookie come from the page’s own origin only; a token may come from anywhere', () => {
  const { principals: known } = principals()
  const cookie = `${SESSION_COOKIE}=${known.open(known.ofToken('right', '10.0.0.1'))}`
  const from = (origin: string, method: string) => () => known.authenticate(request({ cookie, host: 'fleet:8080', origin }, method))
  from('http://fleet:8080', 'POST')()
  from('https://evil', 'GET')()
  for (const origin of ['http://fleet', 'http://evil', 'null', 'http://fleet:8080.evil', 'http://fleet:8080/x']) assert.throws(from(origin, 'POST'), AccessError, origin)
  known.authenticate(request({ authorization: 'Bearer right', host: 'fleet:8080', origin: 'http://evil' }, 'POST'))
})
