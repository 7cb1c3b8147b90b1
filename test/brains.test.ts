import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, test } from 'node:test'
import mqtt from 'mqtt'
import { USAGE } from '../agents/brains/testing/wire-fixtures.ts'
import { WireServer } from '../agents/brains/testing/wire-server.ts'
import { Receiver } from '../alerts/webhooks/webhooks-testing.ts'
import type { Conversation, Message } from '../contracts/conversation.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { honestReply } from './testing/honest-model.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * A model on this machine words digests of the process that users start. What it says is published as the next revision when it verifies.
 */

const NORMAL = 400
interface Told {
  name: string
  traceId: string
  spanId: string
  parentSpanId?: string
}
interface Exported {
  resourceSpans: { scopeSpans: { spans: Told[] }[] }[]
}
interface Digest {
  revision: number
  label: string
}

async function goWrong(platform: PlatformProcess, device: string): Promise<void> {
  const { key, cert, ca } = await platform.provision(device)
  const options = { clientId: device, key, cert, ca, protocolVersion: 4 as const }
  const client = await mqtt.connectAsync(`mqtts://localhost:${platform.ready?.mqtts}`, options)
  const random = seededRandom(4)
  const startTs = Date.now() - NORMAL * 1_000
  for (let seq = 0; seq < NORMAL + 20; seq++) {
    const pressure = (seq < NORMAL ? 6 : 19) + 0.05 * gaussian(random)
    const payload = { ts: startTs + seq * 1_000, boot: 'b1', seq, values: { pressure, flow: 2 + 0.1 * gaussian(random) } }
    await client.publishAsync(`devices/${device}/telemetry`, JSON.stringify(payload), { qos: 1 })
  }
  await client.endAsync()
}

test("a model's digest is published as the next revision when it verifies", async (t) => {
  const server = await WireServer.start(t, 'compatible')
  const spans: Told[] = []
  const collector = createServer((incoming, response) => {
    const pieces: Buffer[] = []
    incoming.on('data', (piece: Buffer) => pieces.push(piece))
    incoming.on('end', () => {
      const { resourceSpans } = JSON.parse(Buffer.concat(pieces).toString()) as Exported
      spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((each) => each.spans)))
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve))
  t.after(() => collector.close())
  const platform = new PlatformProcess({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
    FLEETPULSE_TELEMETRY_SEND_INTERVAL_MS: '200',
    FLEETPULSE_AGENTS_BRAIN: 'compatible',
    FLEETPULSE_BRAINS_COMPATIBLE_BASE_URL: `${server.origin}/v1`,
    FLEETPULSE_BRAINS_COMPATIBLE_MODEL: 'model-1',
    FLEETPULSE_WEBHOOKS_ALLOW_HTTP: 'true',
    FLEETPULSE_WEBHOOKS_ALLOW_PRIVATE_TARGETS: 'true',
  })
  after(() => platform.remove())
  await platform.start()
  const receiver = await Receiver.open()
  t.after(() => receiver.close())
  await platform.post('/webhooks', { url: receiver.url, events: ['digest.published'], ordered: true })
  const digestOf = async (device: string, revisions: number): Promise<Digest> => {
    const published = await until(`a digest of ${device}`, async () => {
      const { items } = await platform.get<{ items: Conversation[] }>(`/conversations?search=${device}`)
      return items.find(({ revision }) => revision >= revisions)
    })
    return platform.get<Digest>(`/incidents/${published.id}/digest`)
  }

  server.reply(honestReply)
  await goWrong(platform, 'pump-honest')
  const honest = await digestOf('pump-honest', 2)
  assert.deepEqual([honest.revision, honest.label], [2, 'Worded by compatible/model-1, figures checked'])
  await until('both revisions are told', async () => receiver.received.length >= 2)
  const told = receiver.received.map(
    ({ body }) => (JSON.parse(body) as { data: { digest: Digest & { author: { kind: string } } } }).data.digest,
  )
  assert.deepEqual(
    told.slice(0, 2).map(({ revision, label, author }) => [revision, label, author.kind]),
    [
      [1, 'Written by rules and statistics, no language model', 'local'],
      [2, 'Worded by compatible/model-1, figures checked', 'model'],
    ],
  )
  const [talk] = (await platform.get<{ items: Conversation[] }>('/conversations?search=pump-honest')).items
  const { items: said } = await platform.get<{ items: Message[] }>(`/conversations/${talk?.id}/messages`)
  const worded = said.filter(({ metadata }) => metadata !== undefined)
  const tokens = USAGE.input + USAGE.output
  assert.deepEqual(
    worded.map(({ author, metadata }) => [author.kind, metadata]),
    [['model', { tokens, model: 'model-1' }]],
  )
  assert.equal(talk?.totalTokens, tokens)
  assert.ok((talk?.totalTurns ?? 0) >= said.length)
  const chat = await platform.cli('chat', '--list', '--search', 'pump-honest')
  assert.match(chat, new RegExp(`[1-9]\\d* turns, ${tokens} tokens`))
  const road = await until('the spans of the request', async () => {
    const post = spans.find(({ name }) => name === 'http.post')
    const above = (of: Told | undefined): Told[] =>
      of === undefined ? [] : [...above(spans.find(({ spanId }) => spanId === of.parentSpanId)), of]
    const chain = above(post).map(({ name }) => name)
    return chain[0] === 'conversation.start' && chain
  })
  assert.deepEqual(road, ['conversation.start', 'agent.run', 'agent.generate_response', 'agent.call_api', 'http.post'])
  const tools = spans.filter(({ name }) => name.startsWith('execute_tool '))
  const responses = new Set(spans.filter(({ name }) => name === 'agent.generate_response').map(({ spanId }) => spanId))
  const checks = tools.filter(({ name }) => name.startsWith('execute_tool check_'))
  assert.ok(checks.length >= 12 && checks.every(({ parentSpanId = '' }) => responses.has(parentSpanId)), 'each check is below its turn')
  assert.equal(tools.filter(({ name }) => name === 'execute_tool verify_digest').length, 2, 'both digests were verified')
  assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1, 'one incident, one trace')
  assert.ok(
    server.requests.every(({ body }) => !body.includes('pump-honest') && !body.includes('pressure')),
    'a name was sent',
  )
})
