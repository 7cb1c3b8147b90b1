import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import mqtt from 'mqtt'
import type { Alert } from '../contracts/alert.ts'
import type { Conversation, Message } from '../contracts/conversation.ts'
import type { Trace, TraceKind } from '../dashboard/api/trace/trace.ts'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { canTraceSockets, outsideSockets, tracingSockets } from './testing/outside-sockets.ts'
import { PlatformProcess, until } from './testing/platform-process.ts'

/*
 * From a reading that is wrong to people who ask about it, in the process users start: device → anomaly → alert → incident → conversation →
 * digest with its evidence → a question and its answer. No key, no network.
 */

const platform = new PlatformProcess()
const sockets = join(platform.folder, 'sockets.txt')
const isTraced = canTraceSockets()
before(() => platform.start([], isTraced ? tracingSockets(sockets) : []))
after(() => platform.remove())

const NORMAL = 400
const CLI = fileURLToPath(new URL('../cli/main.js', import.meta.url))
interface Digest {
  revision: number
  label: string
  author: { kind: string }
  claims: { figure: string; evidence: string[] }[]
  gaps: { says: string }[]
  headline: string
  level: string
  sections: { title: string; lines: string[] }[]
  evidence: Record<string, string>
  rating: { stars: number } | null
}

async function goWrong(device: string): Promise<void> {
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

/** Runs `fleetpulse chat` to its end, with this input. */
async function chat(args: readonly string[], input = ''): Promise<string> {
  const child = spawn(process.execPath, [CLI, 'chat', '--data', platform.data, ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin.end(input)
  let stdout = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  const [code] = (await once(child, 'exit')) as [number]
  assert.equal(code, 0, stdout)
  return stdout
}

test('a device goes wrong, agents talk about it, and a person asks', async () => {
  await goWrong('pump-1')
  const published = await until('a digest is published', async () => {
    const { items } = await platform.get<{ items: Conversation[] }>('/conversations?search=pump-1')
    return items.find(({ revision }) => revision > 0)
  })
  assert.equal(published.incidentId, published.id, 'a conversation about an incident has its id')
  const messages = async (): Promise<Message[]> =>
    (await platform.get<{ items: Message[] }>(`/conversations/${published.id}/messages`)).items
  const said = await messages()
  assert.deepEqual(said.map(({ from }) => from).slice(0, 4), ['agent:triage', 'agent:diagnostics', 'agent:historian', 'agent:reporter'])
  assert.ok(said.every(({ correlationId }) => correlationId === published.correlationId))

  const digest = await platform.get<Digest>(`/incidents/${published.id}/digest`)
  assert.equal(digest.label, 'Written by rules and statistics, no language model')
  assert.match(digest.headline, /pump-1/)
  assert.deepEqual(
    digest.sections.map(({ title }) => title),
    ['What happened', 'Impact', 'Evidence', 'Possible causes', 'Seen before', 'What to check', 'What could not be checked'],
  )
  assert.equal(digest.author.kind, 'local')
  assert.ok(digest.claims.length > 3 && digest.claims.every(({ evidence }) => evidence.every((handle) => handle in digest.evidence)))
  const cited = Object.values(digest.evidence)
  assert.ok(cited.length >= 3)
  for (const id of cited) assert.equal((await platform.get<{ id: string }>(`/evidence/${id}`)).id, id)

  const joined = await platform.post<Conversation>(`/conversations/${published.id}/join`, {})
  assert.deepEqual([joined.status, joined.body.state], [200, 'human-active'])
  await platform.post(`/conversations/${published.id}/messages`, { content: 'What should I check next?' })
  const answer = await until('an answer', async () => (await messages()).find(({ kind }) => kind === 'answer'))
  assert.deepEqual([answer.from, answer.to], ['agent:reporter', 'user:admin'])
  assert.match(answer.content, /What to check/)
  assert.match(answer.content, /no language model/)

  const found = await chat(['--list', '--search', 'PUMP-1', '--device', 'pump-1', '--json'])
  assert.equal((JSON.parse(found.split('\n')[0] ?? '') as Conversation).id, published.id)
  assert.equal(await chat(['--list', '--device', 'pump-2']), '')
  assert.match(await chat([published.id, '--message', 'Was it like this before?']), /agent:reporter answer to user:admin\n {2}Seen before/)
  const talk = await chat([published.id], '/say I am here\nWhy did it happen?\n/rate 2 partly too vague\n')
  assert.match(talk, /user:admin question\n {2}Why did it happen\?[^]*agent:reporter answer to user:admin\n {2}Possible causes/)
  assert.match(talk, /· digest, revision 1\. Written by rules and statistics, no language model\. Not rated/)
  const asked = await platform.get<Conversation>(`/conversations/${published.id}`)
  const mine = asked.participants.find(({ id }) => id === 'user:admin')
  assert.deepEqual([mine?.deliveredSeq, mine?.readSeq ?? 0], [asked.messageCount, 0], 'what a program got is told, and that nobody read it')
  assert.match(await chat([published.id], '/who\n'), /· agent:reporter \(member\): got \d+, read \d+/)
  assert.match(await chat([published.id], '/leave\n'), /Rated 2 of 5, partly, by user:admin/)

  const rated = await platform.post<Digest>(`/incidents/${published.id}/feedback`, {
    revision: digest.revision,
    stars: 4,
    verdict: 'right',
  })
  assert.deepEqual([rated.status, rated.body.rating?.stars], [200, 4])
  const following = chat([published.id, '--follow'])
  const ended = await platform.post<Conversation>(`/conversations/${published.id}/terminate`, {})
  assert.deepEqual([ended.body.state, ended.body.terminationReason], ['closed', 'user_interrupt'])
  assert.match(await following, /closed \(user_interrupt\)/, 'who follows sees its end, and is done')
})

test('T37: an alert leads to the raw readings that its digest rests on, and each of them leads back to it', async () => {
  const [alert] = (await platform.get<{ items: Alert[] }>('/alerts?device=pump-1')).items
  assert.ok(alert !== undefined)
  const trace = await platform.get<Trace>(`/traces/${alert.id}`)
  const of = (kind: TraceKind) => trace.nodes.filter((node) => node.kind === kind)
  for (const kind of ['reading', 'anomaly', 'alert', 'incident', 'conversation', 'message', 'evidence', 'digest'] as const)
    assert.ok(of(kind).length > 0, kind)
  for (const kind of ['alert', 'incident', 'conversation', 'message'] as const)
    assert.ok(
      of(kind).some(({ correlationId }) => correlationId === trace.correlationId),
      kind,
    )
  // From the digest down to what a device sent, step by step.
  const below = (keys: readonly string[]): string[] => trace.nodes.filter(({ key }) => keys.includes(key)).flatMap(({ from }) => from)
  const [digest] = of('digest')
  const evidence = below([digest?.key ?? '']).filter((key) => key.startsWith('evidence:'))
  const readings = below(evidence).filter((key) => key.startsWith('reading:'))
  assert.ok(readings.length > 0, 'a digest rests on readings')
  for (const key of readings.slice(0, 5)) {
    const [device = '', ts = ''] = key.slice('reading:'.length).split('@')
    const { items } = await platform.get<{ items: object[] }>(`/readings?device=${device}&from=${ts}&to=${Number(ts) + 1}`)
    assert.equal(items.length, 1, `${key} is in the store`)
  }
  const back = [readings[0], evidence[0], of('message')[0]?.key, of('anomaly')[0]?.key, of('conversation')[0]?.key]
  for (const key of back) {
    const id = key?.slice(key.indexOf(':') + 1) ?? ''
    const { nodes } = await platform.get<Trace>(`/traces/${encodeURIComponent(id)}`)
    assert.ok(
      nodes.some(({ key: other }) => other === `alert:${alert.id}`),
      `${key} leads back`,
    )
  }
  assert.match(await platform.cli('trace', alert.id), new RegExp(`alert +.*${alert.id}`))
})

test(
  'T32: from its start to a digest and its answers the process connected to nothing but this machine',
  { skip: isTraced ? false : 'strace cannot run here: that no socket goes elsewhere was NOT tested' },
  async () => {
    assert.equal(await platform.stop(), 0)
    const { calls, outside } = outsideSockets(readFileSync(sockets, 'utf8'))
    assert.deepEqual(outside, [])
    assert.ok(calls > 0, 'its listeners were seen')
  },
)
