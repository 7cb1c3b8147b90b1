import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import type { Manifest } from '../../agents/roster/agent-document.ts'
import type { AuditEntry } from '../../contracts/audit.ts'
import type { Conversation, Message } from '../../contracts/conversation.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { ApiFixture, problemOf } from './testing/api-fixture.ts'

interface EventView {
  id: string
  sequence: number
  type: string
  data: Record<string, unknown>
  at: number
}
interface Page<T> {
  items: T[]
  next: string | null
}

let api: ApiFixture
before(async () => {
  api = await ApiFixture.open()
})
after(() => api.close())

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'
/** Asks, and expects it to be done. */
async function done<T>(method: Method, path: string, body?: object): Promise<T> {
  const answer = await api.ask(method, path, { body })
  assert.ok(answer.statusCode < 300, `${method} ${path}: ${answer.statusCode} ${answer.body}`)
  return (answer.body === '' ? null : answer.json()) as T
}
/** What this process told, as the journal has it: here nobody consumes the bus, so it is read again each time. */
async function told(whose: string): Promise<EventView[]> {
  await done('POST', '/events/replay', { from: '0' })
  return (await done<Page<EventView>>('GET', `/events?${whose}&limit=200`)).items
}
async function audited(subject: string): Promise<string[]> {
  const { items } = await done<Page<AuditEntry>>('GET', `/audit?subject=${subject}&limit=200`)
  return items.toReversed().map(({ action, outcome, actor }) => `${actor} ${action} ${outcome}`)
}
const roles = ({ participants }: Conversation): Record<string, string> =>
  Object.fromEntries(participants.filter(({ leftAt }) => leftAt === null).map(({ id, role }) => [id, role]))

describe('the life of agents and conversations, each step with its event, its entry in the trail and its rights', () => {
  it('an agent is introduced, changed, retired, and comes back', async () => {
    const introduced = await done<Manifest>('POST', '/agents', { agentId: 'second', role: 'historian', name: 'Second', bio: 'Compares' })
    assert.deepEqual(introduced.availableResources, ['incidents', 'summaries'], 'what its role needs')
    const changed = await done<Manifest>('PATCH', '/agents/second', { bio: 'Compares twice', availableResources: ['incidents'] })
    assert.deepEqual(
      [changed.publicProfile, changed.availableResources, changed.role],
      [{ name: 'Second', bio: 'Compares twice' }, ['incidents'], 'historian'],
    )
    await done('PATCH', '/agents/second', { bio: 'Compares twice' })
    for (const [body, status] of [
      [{}, 400],
      [{ status: 'busy' }, 400],
      [{ availableResources: ['the moon'] }, 400],
    ] as const) {
      assert.equal((await api.ask('PATCH', '/agents/second', { body })).statusCode, status, JSON.stringify(body))
    }
    await done('DELETE', '/agents/second')
    assert.equal((await api.ask('PATCH', '/agents/second', { body: { bio: 'x' } })).statusCode, 409)
    await done('POST', '/agents', { agentId: 'second', role: 'historian', name: 'Second', bio: '' })
    const events = await told('agent=second')
    assert.deepEqual(
      events.map(({ type }) => type),
      ['AgentIntroduced', 'ManifestUpdated', 'AgentRetired', 'AgentIntroduced'],
      'a change that changes nothing is not told',
    )
    assert.deepEqual((events[1]?.data.manifest as { bio: string }).bio, 'Compares twice')
    assert.deepEqual(
      (await audited('agent/second')).filter((each) => each.endsWith('done')),
      ['introduce', 'change', 'change', 'retire', 'introduce'].map((verb) => `user:admin agent.${verb} done`),
    )
    const retiredAt = events[2]?.at as number
    const state = (at: number): Promise<{ agent: { isRetired: boolean } }> => done('GET', `/events/state?agent=second&at=${at}`)
    assert.deepEqual([(await state(retiredAt)).agent.isRetired, (await state(retiredAt + 60_000)).agent.isRetired], [true, false])
  })

  it('two talk alone: nobody else reads it or its events, and what they say is not in them', async () => {
    const { id, participants } = await done<Conversation>('POST', '/conversations', {
      ...{ title: 'In private', agents: ['reporter'], chatType: 'private', message: 'Is all well?' },
    })
    assert.deepEqual(
      participants.map((each) => [each.id, each.role]),
      [
        ['user:admin', 'owner'],
        ['agent:reporter', 'member'],
      ],
    )
    const events = await told(`conversation=${id}`)
    assert.deepEqual(
      events.map(({ type }) => type),
      ['ChatCreated', 'FloorRequested', 'FloorGranted', 'MessageSent', 'FloorReleased', 'FloorRequested'],
    )
    assert.deepEqual([events[0]?.data.roles, events[3]?.data.content], [{ 'user:admin': 'owner', 'agent:reporter': 'member' }, null])
    const { agentEvents } = api.services
    const stranger = { kind: 'user' as const, id: 'ben', tenant: 'default', roles: ['admin' as const] }
    await assert.rejects(agentEvents.of(stranger, { conversation: id }, 0, 10), /there is no conversation/)
    await assert.rejects(agentEvents.stateAt(stranger, { conversation: id }, 0), /there is no conversation/)
    const looker = { ...stranger, roles: ['operator' as const] }
    assert.throws(() => agentEvents.list(looker, { limit: 10 }), /name a conversation or an agent/)
    assert.deepEqual(await audited(`conversation/${id}`), ['user:admin conversation.create done'])
  })

  it('a group is joined and left, read, closed, taken up again and erased', async () => {
    const { id } = await done<Conversation>('POST', '/conversations', { title: 'In a group', agents: ['triage', 'historian'] })
    const at = `/conversations/${id}`
    await done('DELETE', `${at}/participants/agent:historian`)
    await done('POST', `${at}/participants`, { agent: 'second' })
    await done('POST', `${at}/messages`, { content: 'Hello', kind: 'message' })
    const { conversations } = api.services
    const ana = { kind: 'user' as const, id: 'ana', tenant: 'default', roles: ['operator' as const] }
    await conversations.join(ana, id)
    const status = async (): Promise<string | undefined> => (await done<{ items: Message[] }>('GET', `${at}/messages`)).items[0]?.status
    const seen: (string | undefined)[] = [await status()]
    await conversations.receive(ana, id, { kind: 'delivered', seq: 1 })
    seen.push(await status())
    await conversations.receive(ana, id, { kind: 'read', seq: 99 })
    await conversations.receive(ana, id, { kind: 'delivered', seq: 1 })
    seen.push(await status())
    assert.deepEqual(seen, ['sent', 'delivered', 'read'])
    await done('POST', `${at}/receipts`, { kind: 'read', seq: 1 })
    await conversations.leave(ana, id)
    await done('DELETE', '/agents/second')
    const [left, ended] = [await done<Conversation>('GET', at), await done<Conversation>('POST', `${at}/terminate`)]
    assert.deepEqual([roles(left), ended.state], [{ 'user:admin': 'owner', 'agent:triage': 'member' }, 'closed'])
    const again = await done<Conversation>('POST', `${at}/join`)
    assert.deepEqual(roles(again), { 'user:admin': 'owner', 'agent:triage': 'member' }, 'who left or was retired stays away')

    const events = await told(`conversation=${id}`)
    const wanted = ['ChatCreated', 'ParticipantLeft', 'ParticipantJoined', 'FloorRequested', 'FloorGranted', 'MessageSent', 'FloorReleased']
    const then = ['ParticipantJoined', 'MessageDelivered', 'MessageRead', 'MessageRead', 'ParticipantLeft', 'ParticipantLeft']
    assert.deepEqual(
      events.map(({ type }) => type),
      [...wanted, ...then, 'ConversationTerminated', 'ChatUpdated', 'ParticipantJoined'],
    )
    const { conversation } = await done<{ conversation: { participants: { id: string; readSeq: number }[]; round: number } }>(
      'GET',
      `/events/state?conversation=${id}`,
    )
    assert.deepEqual(conversation.participants.map((each) => [each.id, each.readSeq]).sort(), [
      ['agent:triage', 0],
      ['user:admin', 1],
    ])
    const page = await done<Page<EventView>>('GET', `/events?conversation=${id}&limit=2`)
    const next = await done<Page<EventView>>('GET', `/events?conversation=${id}&limit=2&cursor=${page.next}`)
    assert.deepEqual(
      [...page.items, ...next.items].map(({ sequence }) => sequence),
      [1, 2, 3, 4],
    )

    await assert.rejects(conversations.erase(ana, id), /may not delete/)
    await done('DELETE', at)
    assert.equal((await api.ask('GET', at)).statusCode, 404)
    assert.equal((await api.ask('POST', `${at}/join`)).statusCode, 404)
    await done('POST', '/events/replay', { from: '0' })
    const all = (await done<Page<EventView>>('GET', `/events?type=ChatDeleted`)).items
    assert.deepEqual(
      all.map(({ data }) => data.chatId),
      [id],
    )
    assert.deepEqual(
      (await audited(`conversation/${id}`)).filter((each) => each.endsWith('done')).map((each) => each.split(' ')[1]?.split('.')[1]),
      ['create', 'participants', 'participants', 'messages', 'receipts', 'terminate', 'join', 'remove'],
    )
  })

  it('what nobody may or can is refused with its reason', async () => {
    for (const [method, path, body, status] of [
      ['GET', '/events?conversation=nothing', undefined, 404],
      ['GET', '/events?conversation=a&agent=b', undefined, 400],
      ['GET', '/events?agent=second&type=AgentRetired', undefined, 400],
      ['GET', '/events?type=Nothing', undefined, 400],
      ['GET', '/events/state', undefined, 400],
      ['GET', '/events/state?agent=nobody', undefined, 404],
      ['POST', '/events/replay', { from: 'yesterday' }, 400],
      ['POST', '/events/replay', { from: '0', cursor: 'eyJ4IjoxfQ' }, 400],
      ['POST', '/events/dead-letters/agents.messages:0-7/replay', undefined, 404],
    ] as const) {
      const answer = await api.ask(method, path, { body })
      assert.equal(answer.statusCode, status, `${method} ${path} ${answer.body}`)
      assert.ok(problemOf(answer).detail.length > 5)
    }
    const replays = (await audited('event/journal')).filter((each) => each === 'user:admin event.replay done')
    assert.ok(replays.length >= 3)
  })

  it('events that could not be taken are listed with their cause', async () => {
    const message = {
      key: 'k',
      schema: 'x/1',
      value: Buffer.from('{}'),
      headers: { 'dlq-cause': 'unsigned: why', 'dlq-group': 'journal-messages' },
    }
    await api.services.eventLog.append(`${TOPICS.agentMessages}.dlq`, [message])
    const { items } = await done<Page<{ id: string; cause: string; state: string }>>(
      'GET',
      `/events/dead-letters?topic=${TOPICS.agentMessages}`,
    )
    assert.deepEqual(
      items.map(({ cause, state }) => [cause, state]),
      [['unsigned: why', 'foreign']],
    )
    assert.equal((await api.ask('POST', `/events/dead-letters/${items[0]?.id}/replay`)).statusCode, 409)
    assert.deepEqual(await done('POST', '/events/dead-letters/replay', {}), { replayed: 0 })
  })
})
