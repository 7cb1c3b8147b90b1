import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { after, before, describe, it } from 'node:test'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { Webhook as SvixWebhook } from 'svix'
import { systemClock } from '../../kernel/time.ts'
import { operator, until } from '../alerts-testing.ts'
import { register, WebhookWorld, type Received } from './webhooks-testing.ts'

/* Receivers built on nothing but the public verifiers: good messages pass, tampered, replayed and stale ones do not. */

/** What a receiver does: verify, and take each id once. */
class VerifyingReceiver {
  readonly #verify: (body: string, headers: Record<string, string>) => unknown
  readonly #seen = new Set<string>()

  constructor(verify: (body: string, headers: Record<string, string>) => unknown) {
    this.#verify = verify
  }

  take({ body, headers }: Pick<Received, 'body' | 'headers'>): 'taken' | 'refused' | 'repeated' {
    try {
      this.#verify(body, headers)
    } catch (error) {
      assert.ok(error instanceof Error)
      return 'refused'
    }
    const id = headers['webhook-id'] ?? ''
    if (this.#seen.has(id)) return 'repeated'
    this.#seen.add(id)
    return 'taken'
  }
}

const VERIFIERS: Record<string, (secret: string) => (body: string, headers: Record<string, string>) => unknown> = {
  standardwebhooks: (secret) => (body, headers) => new StandardWebhook(secret).verify(body, headers),
  svix: (secret) => (body, headers) => new SvixWebhook(secret).verify(body, headers),
}

let world: WebhookWorld
let secret: string
let rotated: string
let message: Received
let afterRotation: Received

before(async () => {
  world = await WebhookWorld.open()
  const webhooks = await world.start()
  const receiver = await world.receive()
  const registered = await register(webhooks, receiver.url)
  secret = registered.secret
  await world.happen()
  await until('the first came', () => receiver.received.length === 1)
  rotated = (await webhooks.service.rotateSecret(operator, registered.endpoint.id, 3_600_000)).secret.reveal()
  await world.happen()
  await until('the second came', () => receiver.received.length === 2)
  ;[message, afterRotation] = receiver.received as [Received, Received]
})
after(() => world.close())

/** The same message as it would be, had it been signed so long ago. */
function shifted({ body, headers }: Received, seconds: number): Pick<Received, 'body' | 'headers'> {
  const timestamp = Math.floor(systemClock.nowMs() / 1_000) + seconds
  const id = headers['webhook-id'] ?? ''
  const signature = new StandardWebhook(secret).sign(id, new Date(timestamp * 1_000), body)
  return { body, headers: { ...headers, 'webhook-timestamp': String(timestamp), 'webhook-signature': signature } }
}

function badOnes(good: Received): [string, Pick<Received, 'body' | 'headers'>][] {
  const header = (name: string, value: string) => ({ body: good.body, headers: { ...good.headers, [name]: value } })
  return [
    ['another body', { body: good.body.replace('warning', 'critical'), headers: good.headers }],
    ['another id', header('webhook-id', 'msg_other')],
    ['another time', header('webhook-timestamp', String(Number(good.headers['webhook-timestamp']) + 1))],
    ['another signature', header('webhook-signature', 'v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=')],
    ['stale', shifted(good, -302)],
    ['from the future', shifted(good, 330)],
  ]
}

for (const [name, verifierOf] of Object.entries(VERIFIERS)) {
  describe(`a receiver built on ${name}`, () => {
    it('takes a good message once', () => {
      const receiver = new VerifyingReceiver(verifierOf(secret))
      assert.equal(receiver.take(message), 'taken')
      assert.equal(receiver.take(message), 'repeated')
      assert.equal(new VerifyingReceiver(verifierOf(secret)).take(shifted(message, -290)), 'taken', 'what is only late')
    })
    it('refuses tampered and stale ones', () => {
      for (const [what, bad] of badOnes(message)) assert.equal(new VerifyingReceiver(verifierOf(secret)).take(bad), 'refused', what)
    })
    it('takes a message with the old and with the new secret while both are valid', () => {
      for (const key of [secret, rotated]) assert.equal(new VerifyingReceiver(verifierOf(key)).take(afterRotation), 'taken')
      assert.equal(new VerifyingReceiver(verifierOf(rotated)).take(message), 'refused')
    })
  })
}

const PYTHON = process.env.PYTHON ?? 'python3'
const SCRIPT = `
import json, sys
module, secret = sys.argv[1], sys.argv[2]
Webhook = __import__(module).Webhook if module == 'standardwebhooks' else __import__('svix.webhooks', fromlist=['Webhook']).Webhook
answers = []
for message in json.load(sys.stdin):
    try:
        Webhook(secret).verify(message['body'].encode(), message['headers'])
        answers.append('taken')
    except Exception as error:
        answers.append('refused')
print(json.dumps(answers))
`
for (const name of ['standardwebhooks', 'svix']) {
  const isThere = spawnSync(PYTHON, ['-c', `import ${name}`]).status === 0
  if (!isThere)
    console.warn(`SKIPPED: ${PYTHON} has no ${name} (pip install ${name}, or set PYTHON): receivers in Python were not tested with it`)
  it(`a receiver in Python built on ${name} agrees`, { skip: isThere ? false : `${PYTHON} has no ${name}` }, () => {
    const bad = badOnes(message)
    const messages = [message, afterRotation, shifted(message, -290), ...bad.map(([, one]) => one)]
    const run = spawnSync(PYTHON, ['-c', SCRIPT, name, secret], { input: JSON.stringify(messages), encoding: 'utf8' })
    assert.equal(run.status, 0, run.stderr)
    assert.deepEqual(JSON.parse(run.stdout), ['taken', 'taken', 'taken', ...bad.map(() => 'refused')])
  })
}
