import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import type { ConversationFrame } from '../../contracts/conversation-frame.ts'
import type { Conversation } from '../../contracts/conversation.ts'
import { newId } from '../../kernel/ids.ts'
import { systemClock } from '../../kernel/time.ts'
import { Cluster, type Member } from '../testing/cluster.ts'
import { until } from '../testing/platform-process.ts'
import { serverAddress } from '../testing/server-addresses.ts'

/* A conversation watched in one process and spoken in from another, over Kafka and MongoDB's protocol. */

const SERVERS = {
  kafka: serverAddress('kafka'),
  questdbHttp: serverAddress('questdbHttp'),
  questdbPg: serverAddress('questdbPg'),
  mongodb: serverAddress('mongodb'),
}
const MESSAGES = 60
/** Of messages, from when they were said to when the other process has shown them. */
const DELAY_MAX_MS = 1_000
const cluster = new Cluster(SERVERS, `c${newId(systemClock.nowMs()).slice(-10)}`)
let said: Member
let seen: Member

before(async () => {
  said = await cluster.add('desk', 'registry', 'dashboard')
  seen = await cluster.add('agents', 'agents', 'dashboard')
})
after(() => cluster.remove())

test('what is said in one process is on a socket of another soon, each once and in order, through a break', async (t) => {
  const begun = await said.process.post<Conversation>('/conversations', { title: 'Two desks', agents: ['triage'] })
  assert.equal(begun.status, 201)
  const { id } = begun.body
  const seqs: number[] = []
  const delays: number[] = []
  let speakers = 0
  const watch = async (): Promise<WebSocket> => {
    const address = `${seen.process.api.replace('http', 'ws')}/api/v1/conversations/${id}/socket?afterSeq=${seqs.at(-1) ?? 0}`
    const socket = new WebSocket(address, { headers: { authorization: `Bearer ${seen.process.token}` } })
    let isLive = false
    socket.on('message', (data: Buffer) => {
      const frame = JSON.parse(data.toString()) as ConversationFrame
      if (frame.type === 'caught-up') isLive = true
      if (frame.type === 'conversation' || frame.type === 'floor') speakers++
      if (frame.type !== 'message') return
      seqs.push(frame.message.seq)
      if (isLive) delays.push(systemClock.nowMs() - frame.message.at)
    })
    await until('the socket is up to date', () => Promise.resolve(isLive))
    return socket
  }
  const first = await watch()
  for (let n = 1; n <= MESSAGES; n++) {
    await said.process.post(`/conversations/${id}/messages`, { content: `n${n}`, kind: 'message' })
    if (n === MESSAGES / 2) first.terminate()
    if (n === MESSAGES / 2 + 5) await watch()
  }
  await until('all of them', () => Promise.resolve(seqs.length >= MESSAGES))
  assert.deepEqual(
    seqs,
    Array.from({ length: MESSAGES }, (_, i) => i + 1),
  )
  delays.sort((a, b) => a - b)
  const at = (share: number): number => delays[Math.floor((delays.length - 1) * share)] as number
  t.diagnostic(`said in one process, seen in another: p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, max ${at(1)} ms of ${delays.length}`)
  // On a quiet machine nine of ten come within 200 ms; of a busy one only this can be said.
  assert.ok(at(0.5) <= DELAY_MAX_MS, `p50 ${at(0.5)} ms`)
  assert.ok(speakers > 0)
})
