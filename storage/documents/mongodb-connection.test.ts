import assert from 'node:assert/strict'
import { createServer, type AddressInfo } from 'node:net'
import { it, type TestContext } from 'node:test'
import { Long } from 'mongodb'
import { describeError, StoreError } from '../../kernel/errors.ts'
import { documentsOn } from './testing/mongodb-fixture.ts'
import { fakeServer, hello, type FakeAnswers } from './testing/mongodb-fake-server.ts'

const WIRE_6_0 = 17

/** Starts on this server and answers the error: one of ours, that never shows the password. */
async function startFailure(url: string): Promise<StoreError> {
  const documents = documentsOn({ url, serverSelectionTimeoutMs: 300, connectTimeoutMs: 300 })
  const error: unknown = await documents.start().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof StoreError, describeError(error))
  assert.ok(!`${describeError(error)} ${error.remedy} ${JSON.stringify(error)}`.includes('secret'), describeError(error))
  await documents.stop()
  return error
}

function isHello(command: Record<string, unknown>): boolean {
  return 'ismaster' in command || 'isMaster' in command || 'hello' in command
}

async function refusingServer(t: TestContext, wireVersion: number, refuse: FakeAnswers = () => ({ ok: 1 })): Promise<string> {
  return (await fakeServer(t, (command) => (isHello(command) ? hello(wireVersion) : refuse(command)))).address
}

it('says in one sentence that nothing listens, with the address and without the password', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  const error = await startFailure(`mongodb://me:secret@127.0.0.1:${port}/?authSource=admin`)
  assert.match(
    describeError(error),
    new RegExp(`^MongoDB at mongodb://me:\\[masked\\]@127\\.0\\.0\\.1:${port} does not answer as it should: connect ECONNREFUSED`),
  )
  assert.equal(error.retryable, true)
  assert.match(error.remedy ?? '', /mongodb\.url/)
})

it('says that a server is too old: for the driver, and for us', async (t) => {
  for (const wireVersion of [6, 13]) {
    const error = await startFailure(`mongodb://${await refusingServer(t, wireVersion)}`)
    assert.match(describeError(error), /is older than 6\.0, which is needed: .*wire version/, `wire version ${wireVersion}`)
    assert.equal(error.retryable, false)
    assert.match(error.remedy ?? '', /Upgrade/)
  }
})

it('says that user or password are wrong', async (t) => {
  const address = await refusingServer(t, WIRE_6_0, () => ({
    ok: 0,
    code: 18,
    codeName: 'AuthenticationFailed',
    errmsg: 'Authentication failed.',
  }))
  const error = await startFailure(`mongodb://me:secret@${address}/?authMechanism=SCRAM-SHA-256`)
  assert.match(error.message, /^MongoDB at mongodb:\/\/me:\[masked\]@\S+ does not accept this user and password$/)
  assert.equal(error.retryable, false)
  assert.match(error.remedy ?? '', /authSource/)
})

it('says that the user may not write there', async (t) => {
  const address = await refusingServer(t, WIRE_6_0, (command) =>
    'update' in command
      ? { ok: 0, code: 13, codeName: 'Unauthorized', errmsg: 'not authorized on fleetpulse to execute command' }
      : { ok: 1 },
  )
  const error = await startFailure(`mongodb://${address}`)
  assert.match(error.message, /allows this user too little in database fleetpulse$/)
  assert.match(error.remedy ?? '', /readWrite on fleetpulse/)
})

it('refuses a database of a newer version', async (t) => {
  const address = await refusingServer(t, WIRE_6_0, (command) =>
    'find' in command
      ? { ok: 1, cursor: { id: Long.ZERO, ns: 'fleetpulse._fleetpulse', firstBatch: [{ _id: 'documents', format: 2 }] } }
      : { ok: 1, n: 1, nModified: 0 },
  )
  const error = await startFailure(`mongodb://${address}`)
  assert.equal(error.code, 'STORE_NEWER')
})

it('refuses a connection string that is none', async () => {
  const error = await startFailure('mongodb://me:secret@host:1/?noSuchOption=1')
  assert.match(describeError(error), /cannot be used: .*noSuchOption|cannot be used: .*nosuchoption/i)
})
