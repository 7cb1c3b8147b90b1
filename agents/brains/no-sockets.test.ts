import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { systemClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { PROVIDER_KINDS } from './brain.ts'
import { Brains } from './brains.ts'
import { brainsConfig, brainWorld } from './testing/brain-world.ts'

/** Sockets that this process opened since. */
function countSockets(): { count: () => number; stop: () => void } {
  let opened = 0
  const onSocket = (): void => void opened++
  subscribe('net.client.socket', onSocket)
  subscribe('undici:client:beforeConnect', onSocket)
  return {
    count: () => opened,
    stop: () => {
      unsubscribe('net.client.socket', onSocket)
      unsubscribe('undici:client:beforeConnect', onSocket)
    },
  }
}

test('T32: with no key nothing is asked and no socket is opened', async (t) => {
  const documents = await lmdbDocuments(t)
  const sockets = countSockets()
  t.after(() => sockets.stop())
  const brains = new Brains({
    documents,
    clock: systemClock,
    random: seededRandom(1),
    log: silentLogger,
    metrics: new Metrics(),
    config: brainsConfig(),
  })
  await brains.start()
  assert.equal(brains.configured, null)
  for (const kind of PROVIDER_KINDS) assert.equal(brains.of(kind), null, kind)
  assert.deepEqual(await brains.troubles(), {})
  await brains.stop()
  assert.equal(sockets.count(), 0)
  // The count can count.
  await (await brainWorld(t, { kind: 'compatible', documents })).think()
  assert.ok(sockets.count() > 0)
})

test('no environment variable turns tracing on, changes the address or adds a key', async (t) => {
  let asked = 0
  const elsewhere = createServer((_request, response) => {
    asked++
    response.end('{}')
  })
  elsewhere.listen(0, '127.0.0.1')
  await once(elsewhere, 'listening')
  t.after(() => elsewhere.close())
  const url = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`
  const set: Record<string, string> = {
    ...{
      LANGSMITH_TRACING: 'true',
      LANGSMITH_TRACING_V2: 'true',
      LANGCHAIN_TRACING_V2: 'true',
      LANGCHAIN_TRACING: 'true',
      LANGCHAIN_VERBOSE: 'true',
    },
    ...{ LANGSMITH_ENDPOINT: url, LANGCHAIN_ENDPOINT: url, LANGSMITH_API_KEY: 'k-env', LANGSMITH_GATEWAY: 'true' },
    ...{
      OPENAI_BASE_URL: url,
      OPENAI_API_BASE: url,
      OPENAI_API_KEY: 'k-env',
      OPENAI_ORG_ID: 'k-env',
      OPENAI_ORGANIZATION: 'k-env',
      OPENAI_LOG: 'debug',
    },
    ...{
      ANTHROPIC_BASE_URL: url,
      ANTHROPIC_API_URL: url,
      ANTHROPIC_API_KEY: 'k-env',
      ANTHROPIC_AUTH_TOKEN: 'k-env',
      ANTHROPIC_LOG: 'debug',
    },
  }
  const before = Object.fromEntries(Object.keys(set).map((name) => [name, process.env[name]]))
  Object.assign(process.env, set)
  t.after(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) Reflect.deleteProperty(process.env, name)
      else process.env[name] = value
    }
  })
  const documents = await lmdbDocuments(t)
  for (const kind of PROVIDER_KINDS) {
    for (const stream of [false, true]) {
      const { server, think } = await brainWorld(t, { kind, documents, config: { stream } })
      assert.equal((await think()).status, 'replied', kind)
      assert.equal(server.requests.length, 1)
      assert.ok(!JSON.stringify(server.requests[0]).includes('k-env'), `${kind} sent a key of the environment`)
    }
  }
  await new Promise<void>((resolve) => systemClock.after(100, resolve))
  assert.equal(asked, 0)
})
