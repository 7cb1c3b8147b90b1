import assert from 'node:assert/strict'
import { once } from 'node:events'
import { rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:https'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import fc from 'fast-check'
import { Webhook } from 'standardwebhooks'
import { Agent, request } from 'undici'
import { systemClock } from '../../kernel/time.ts'
import { newWebhookSecret } from '../../kernel/webhook-signature.ts'
import { newDeviceRequest } from './device-bundle.ts'
import { readHookAnswer, type HookQuestion } from './hook.ts'
import { startStation, TENANT, temporaryFolder, type Station } from '../testing/station.ts'
import { credentialOf, FactoryCa, registerFactory } from '../testing/factory-ca.ts'

interface Asked {
  headers: Record<string, string>
  body: string
  data: HookQuestion
}

/** Long enough for an answer to come on a busy machine. */
const TIMEOUT_MS = 1_200
const secret = newWebhookSecret()
const asked: Asked[] = []
let answer: (asked: Asked, response: ServerResponse) => void
let receiver: Server
let station: Station
let agent: Agent
let folder: string

function say(status: number, body: unknown, headers: Record<string, string> = {}): typeof answer {
  return (_asked, response) =>
    response
      .writeHead(status, { 'content-type': 'application/json', ...headers })
      .end(typeof body === 'string' ? body : JSON.stringify(body))
}

before(async () => {
  folder = await temporaryFolder()
  // A CA of its own, as a hook inside a company has.
  const ca = await FactoryCa.make({ name: 'CN=Company Root' })
  const { certPem, keyPem } = await ca.sign('CN=localhost', { dns: 'localhost' })
  const caFile = join(folder, 'hook-ca.pem')
  await writeFile(caFile, ca.pem)
  receiver = createServer({ cert: certPem, key: keyPem }, (incoming: IncomingMessage, response) => {
    let body = ''
    incoming.on('data', (chunk: Buffer) => (body += chunk.toString()))
    incoming.on('end', () => {
      const question = {
        headers: incoming.headers as Record<string, string>,
        body,
        data: (JSON.parse(body) as { data: HookQuestion }).data,
      }
      asked.push(question)
      answer(question, response)
    })
  })
  receiver.listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  station = await startStation({}, systemClock, {
    hookUrl: `https://localhost:${(receiver.address() as AddressInfo).port}/enrolling`,
    hookSecret: secret.reveal(),
    hookTimeoutMs: TIMEOUT_MS,
    hookCaFile: caFile,
    hookAllowPrivateTargets: true,
  })
  agent = new Agent({ connect: { ca: station.authority.caPem } })
})
afterEach(() => asked.splice(0))
after(async () => {
  await agent.close()
  await station.stop()
  receiver.closeAllConnections()
  receiver.close()
  await rm(folder, { recursive: true, force: true })
})

async function enrol(
  deviceId: string,
  token?: string,
): Promise<{ status: number; text: string; retryAfter: string | undefined; token: string }> {
  const usable = token ?? (await station.token(deviceId))
  const { csrPem } = await newDeviceRequest(deviceId)
  const response = await request(`${station.origin}/.well-known/est/simpleenroll`, {
    method: 'POST',
    dispatcher: agent,
    body: csrPem,
    headers: { 'content-type': 'application/pkcs10', authorization: `Basic ${Buffer.from(`${deviceId}:${usable}`).toString('base64')}` },
  })
  const retryAfter = response.headers['retry-after']
  return { status: response.statusCode, text: await response.body.text(), retryAfter: retryAfter as string | undefined, token: usable }
}

test('the hook is asked, signed as the public verifier wants it, and may set type and labels', async () => {
  answer = say(200, { allow: true, type: 'pump', labels: { site: 'a', room: '7' } })
  assert.equal((await enrol('hook-1')).status, 200)
  const [question] = asked
  assert.ok(question !== undefined && asked.length === 1)
  new Webhook(secret.reveal()).verify(question.body, question.headers)
  assert.deepEqual(
    { ...question.data, publicKeySha256: question.data.publicKeySha256?.length },
    {
      door: 'est-token',
      tenant: TENANT,
      device: 'hook-1',
      credential: 'token',
      deviceType: 'generic',
      labels: {},
      publicKeySha256: 64,
      origin: '127.0.0.1',
    },
  )
  const device = await station.registrar.findDevice(TENANT, 'hook-1')
  assert.deepEqual([device?.state, device?.type, device?.labels], ['provisioned', 'pump', { site: 'a', room: '7' }])
})

test('a refusal says the reason, costs no token, and is counted and audited', async () => {
  answer = say(200, { allow: false, reason: 'not on the\r\ndelivery note' })
  const refused = await enrol('hook-2')
  assert.deepEqual([refused.status, refused.text], [403, 'the device was refused: not on the delivery note\n'])
  const act = station.auditTrail.acts.find(({ subject }) => subject.id === 'hook-2')
  assert.deepEqual([act?.action, act?.outcome, act?.after], ['certificate.issue', 'refused', { door: 'est-token', reason: 'hook-refused' }])
  assert.match(
    await station.metrics.registry.metrics(),
    /provisioning_refused_enrolments_total\{door="est-token",reason="hook-refused"\} 1/,
  )
  answer = say(204, '')
  assert.equal((await enrol('hook-2', refused.token)).status, 403, 'no content is no yes')
  answer = say(201, { allow: true })
  assert.equal((await enrol('hook-2', refused.token)).status, 200, 'the token still works')
})

test('whatever is not a clear yes in time is a no', async () => {
  const answers: Record<string, typeof answer> = {
    'a server error': say(500, { allow: true }),
    'not found': say(404, { allow: true }),
    'a redirect': say(302, { allow: true }, { location: 'https://localhost/elsewhere' }),
    'no JSON': say(200, 'yes'),
    'an empty body': say(200, ''),
    'another shape': say(200, { allowed: true }),
    'a truthy text': say(200, { allow: 'true' }),
    'an unknown field': say(200, { allow: true, until: 1 }),
    'a type that is none': say(200, { allow: true, type: '../x' }),
    'too many labels': say(200, { allow: true, labels: Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`l${i}`, 'x'])) }),
    'too much': say(200, `{"allow":true,"reason":"${'x'.repeat(20_000)}"}`),
    'an answer that stops': (_asked, response) => response.writeHead(200, { 'content-length': '100' }).write('{"allow":'),
    'a cut connection': (_asked, response) => response.destroy(),
    silence: () => undefined,
  }
  for (const [what, given] of Object.entries(answers)) {
    answer = given
    const startedMs = systemClock.monotonicMs()
    const refused = await enrol('hook-3')
    assert.deepEqual([refused.status, refused.text], [403, 'nobody could say in time whether the device may come in\n'], what)
    assert.ok(systemClock.monotonicMs() - startedMs < 2 * TIMEOUT_MS, what)
  }
  assert.equal((await station.certificates.list({ tenant: TENANT, device: 'hook-3', limit: 1 })).items.length, 0)
})

test('a type that is unknown or another one is refused in words', async () => {
  answer = say(200, { allow: true, type: 'rocket' })
  assert.deepEqual([(await enrol('hook-4')).text], ['there is no device type rocket\n'])
  answer = say(200, { allow: true, type: 'pump' })
  assert.equal((await enrol('hook-4')).status, 200)
  answer = say(200, { allow: true, type: 'generic' })
  assert.deepEqual([(await enrol('hook-4')).text], ['the device is not of type generic\n'])
})

test('a decision that takes longer is 202 with Retry-After; the token still works', async () => {
  answer = say(200, { allow: false, pending: true, retryAfterMs: 90_500 })
  const pending = await enrol('hook-5')
  assert.deepEqual([pending.status, pending.retryAfter], [202, '91'])
  answer = say(200, { allow: true })
  assert.equal((await enrol('hook-5', pending.token)).status, 200)
})

test('it has the last word at every door, and none about renewals', async () => {
  answer = say(200, { allow: false, reason: 'no' })
  const { csrPem } = await newDeviceRequest('claim-device')
  const { claim } = await station.claims.create({
    ...{ tenant: TENANT, id: 'hooked', type: null, devices: '*', labels: {}, devicesMax: 1, by: 'user:tester' },
    csrDer: derOf((await newDeviceRequest('hooked')).csrPem),
  })
  const credential = { kind: 'claim', tenant: TENANT, claim: 'hooked', serial: claim.serial } as const
  const ask = { credential, requestId: '1', device: 'claim-device', csrBase64: derOf(csrPem).toString('base64'), origin: '10.0.0.9' }
  assert.equal((await station.doors.claimDoor.ask(ask)).status, 'refused')
  assert.equal((await station.claims.get(TENANT, 'hooked')).devicesUsed, 0, 'what was refused is not counted')
  const factory = await FactoryCa.make()
  await registerFactory(station, 'hooked', factory)
  const made = await factory.sign('CN=jit-device')
  const admit = { credential: credentialOf('jit-device', 'hooked', made), certificatePem: made.certPem, origin: '10.0.0.9' }
  assert.equal((await station.justInTime.admit(admit)).status, 'refused')
  assert.equal(await station.registrar.findDevice(TENANT, 'jit-device'), undefined, 'nothing was registered')
  assert.deepEqual(
    asked.map(({ data }) => [data.door, data.credential]),
    [
      ['claim', 'claim:hooked'],
      ['just-in-time', 'factory:hooked'],
    ],
  )
  answer = say(200, { allow: true })
  assert.equal((await station.justInTime.admit(admit)).status, 'granted')
  asked.splice(0)
  assert.equal((await station.justInTime.admit(admit)).status, 'granted')
  const identity = { tenant: TENANT, device: 'jit-device', serial: admit.credential.serial }
  const renewed = await station.enrolment.enrolWithCertificate(identity, derOf((await newDeviceRequest('jit-device')).csrPem), {
    sameIdentity: true,
  })
  assert.equal(renewed.status, 'issued')
  assert.deepEqual(asked, [])
})

test('a hook in a private network is not reached unless that is allowed', async () => {
  const guarded = await startStation({}, systemClock, {
    hookUrl: `https://localhost:${(receiver.address() as AddressInfo).port}/`,
    hookSecret: secret.reveal(),
    hookCaFile: join(folder, 'hook-ca.pem'),
  })
  answer = say(200, { allow: true })
  const { token } = await guarded.tokens.create({ tenant: TENANT, deviceId: 'private-1', by: 'system' })
  const outcome = await guarded.enrolment.enrolWithToken('private-1', token, derOf((await newDeviceRequest('private-1')).csrPem))
  assert.deepEqual([outcome.status, outcome.status === 'refused' && outcome.reason, asked.length], ['refused', 'hook-failed', 0])
  await guarded.stop()
})

test('any bytes as an answer: never a throw, and a yes only where it says so', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.json().map((text) => Buffer.from(text)),
      ),
      (bytes) => {
        const verdict = readHookAnswer(bytes)
        if (verdict.status === 'allowed') assert.equal((JSON.parse(Buffer.from(bytes).toString()) as { allow: unknown }).allow, true)
      },
    ),
    { numRuns: 1_000 },
  )
})

function derOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
}
