import assert from 'node:assert/strict'
import { afterEach, beforeEach, test } from 'node:test'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import type { Author } from '../../contracts/conversation.ts'
import type { Digest } from '../../contracts/digest.ts'
import { operator, T0, until } from '../alerts-testing.ts'
import { INCIDENTS_COLLECTION, type IncidentDocument } from '../incidents/incident-document.ts'
import { openIncident } from '../incidents/incident-lifecycle.ts'
import { noticeOfDigest } from '../notifiers/notice.ts'
import { EmailNotifier } from '../notifiers/email-notifier.ts'
import { Notifiers } from '../notifiers/notifiers.ts'
import { silentLogger } from '../../kernel/log.ts'
import { systemClock } from '../../kernel/time.ts'
import type { EndpointDocument } from './webhook-documents.ts'
import type { EndpointSettings } from './webhook-service.ts'
import { change, webhooksConfig, webhooksOptions, WebhookWorld, type Receiver } from './webhooks-testing.ts'
import type { Webhooks } from './webhooks.ts'

/* Digests that receivers are told of: every one names its author, whatever receiver and template. */

const LOCAL: Author = { kind: 'local', provider: null, model: null }
const MODEL: Author = { kind: 'model', provider: 'compatible', model: 'model-1' }
const LABELS = { local: 'Written by rules and statistics, no language model', model: 'Worded by compatible/model-1, figures checked' }

function digest(revision: number, author: Author, changes: Partial<Digest> = {}): Digest {
  return {
    ...{ incident: 'i1', tenant: 'default', conversation: 'i1', revision, publishedAt: T0 + revision, headline: 'pressure of pump-1 rose' },
    ...{ sections: [{ title: 'What happened', lines: ['It rose.'] }], level: 'LIKELY', evidenceHash: `h${revision}`, evidence: ['ev_1'] },
    causes: [{ code: 'sensor_fault.drift', level: 'LIKELY' }],
    ...{ label: author.kind === 'local' ? LABELS.local : LABELS.model, author },
    ...changes,
  }
}

let world: WebhookWorld
let webhooks: Webhooks
beforeEach(async () => {
  world = await WebhookWorld.open()
  const options = webhooksOptions(world.engines, { publicUrl: 'https://fleet.example/', bodyBytesMax: 4_096 })
  const digests = { read: ({ value }: { value: Uint8Array }) => JSON.parse(Buffer.from(value).toString('utf8')) as Digest | null }
  webhooks = await world.start({ ...options, digests })
})
afterEach(() => world.close())

async function publish(...digests: (Digest | null)[]): Promise<void> {
  const messages = digests.map((each) => ({ key: 'default/i1', schema: 'any', value: Buffer.from(JSON.stringify(each)) }))
  await world.engines.eventLog.append('digests', messages)
}
async function incident(id: string, changes: Partial<IncidentDocument> = {}): Promise<IncidentDocument> {
  const incidents = await world.engines.documents.collection<IncidentDocument>(INCIDENTS_COLLECTION)
  const document = { ...openIncident(id, 'device', [change()], T0), ...changes }
  await incidents.insert(id, document)
  return document
}
async function subscribed(settings: Partial<EndpointSettings> = {}): Promise<{ receiver: Receiver; secret: string; id: string }> {
  const receiver = await world.receive()
  const made = await webhooks.service.create(operator, { url: receiver.url, events: ['digest.published'], ordered: true, ...settings })
  return { receiver, secret: made.secret.reveal(), id: made.endpoint.id }
}

interface Body {
  type: string
  data: { text: string; incident: { id: string }; digest: Digest & { isWhole: boolean; links: { digest: string; page: string } } }
}
const bodies = (receiver: Receiver): Body[] => receiver.received.map(({ body }) => JSON.parse(body) as Body)

test('every revision goes out once, signed, to who subscribed to digests, and says who wrote it', async () => {
  await incident('i1')
  const { receiver, secret } = await subscribed()
  const byDefault = await world.receive()
  await webhooks.service.create(operator, { url: byDefault.url })
  await publish(digest(1, LOCAL), null, digest(1, LOCAL), digest(2, MODEL))
  await until('both came', () => receiver.received.length === 2)
  const verifier = new StandardWebhook(secret)
  for (const { body, headers } of receiver.received) verifier.verify(body, headers)
  const told = bodies(receiver)
  assert.deepEqual(
    told.map(({ type, data }) => [type, data.incident.id, data.digest.revision, data.digest.author, data.digest.label]),
    [
      ['digest.published', 'i1', 1, LOCAL, LABELS.local],
      ['digest.published', 'i1', 2, MODEL, LABELS.model],
    ],
  )
  const [first] = told as [Body]
  assert.deepEqual(first.data.digest.causes, [{ code: 'sensor_fault.drift', level: 'LIKELY' }])
  assert.deepEqual(first.data.digest.links, {
    digest: 'https://fleet.example/api/v1/incidents/i1/digest?revision=1',
    page: 'https://fleet.example/incidents/i1',
  })
  assert.equal(byDefault.received.length, 0, 'an endpoint gets digests when it asks for them')
})

test('every kind of receiver and any template names the author', async () => {
  const document = await incident('i1')
  const templates = [null, '{{ digest.headline }}', '{{ no.such.path }}']
  const endpoints = await Promise.all(
    (['standard-webhooks', 'cloudevents', 'slack', 'alertmanager'] as const).flatMap((kind) =>
      templates.map((template) => subscribed({ kind, template })),
    ),
  )
  await publish(digest(1, LOCAL), digest(2, MODEL))
  await until('all came', () => endpoints.every(({ receiver }) => receiver.received.length === 2))
  for (const { receiver } of endpoints) {
    const [local, model] = receiver.received.map(({ body }) => body) as [string, string]
    assert.ok(local.includes(LABELS.local) && !local.includes('Worded by'), local)
    assert.ok(model.includes(LABELS.model) && !model.includes(LABELS.local), model)
  }
  const email = new EmailNotifier({ config: webhooksConfig(), clock: systemClock })
  const notifiers = new Notifiers({ notifiers: [email], log: silentLogger, config: { bodyBytesMax: 4_096 } })
  for (const template of templates) {
    const endpoint = { kind: 'email', template } as EndpointDocument
    const { body } = notifiers.write(endpoint, noticeOfDigest(digest(2, MODEL), document, ''))
    assert.ok(body.includes(LABELS.model) && body.includes('digest 2'), body)
  }
})

test('a digest too long to send goes out without its sections and says where they are', async () => {
  await incident('i1')
  const { receiver } = await subscribed()
  await publish(digest(1, LOCAL, { sections: [{ title: 'Evidence', lines: ['x'.repeat(9_000)] }] }))
  await until('it came', () => receiver.received.length === 1)
  const [{ data }] = bodies(receiver) as [Body]
  assert.deepEqual([data.digest.isWhole, data.digest.sections, data.digest.author], [false, [], LOCAL])
})

test('nobody hears of a quiet incident, of another tenant’s, or of one that is gone', async () => {
  await incident('quiet', { announced: false })
  await incident('other', { tenant: 'acme' })
  await incident('i1')
  const { receiver } = await subscribed()
  const of = (id: string): Digest => digest(1, LOCAL, { incident: id })
  await publish(of('quiet'), of('other'), of('gone'), of('i1'))
  await until('one came', () => receiver.received.length > 0)
  assert.deepEqual(
    bodies(receiver).map(({ data }) => data.incident.id),
    ['i1'],
  )
})
