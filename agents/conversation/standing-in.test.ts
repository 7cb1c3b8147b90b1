import assert from 'node:assert/strict'
import { test } from 'node:test'
import { INCIDENT } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { Agents, limitsOf } from '../agents.ts'
import { EvidenceConfigSchema } from '../evidence/config.ts'
import { IncidentTeam } from '../team/incident-team.ts'
import { aboutIncident, agentsConfig, agentsLog, digest, discussion, PLAN, plainParts, T0, words } from '../testing/agents-fixture.ts'
import { seatOf, type ConversationDocument } from './conversation-document.ts'
import { ask, end, join, open, reopen, speak, take } from './lifecycle.ts'
import { replaceRetired } from './standing-in.ts'

const WAIT_MAX_MS = 60_000
const limits = limitsOf(agentsConfig())
const SECOND = 'agent:second-reporter'

function next(conversation: ConversationDocument): { conversation: ConversationDocument; participant: string; epoch: number } {
  const taken = take(conversation, 'w', T0, limits)
  if (taken.status !== 'granted') assert.fail(taken.status)
  return taken
}

test('another agent of its role has the turn, the floor and the questions of one that is retired', () => {
  let conversation = open(aboutIncident('i1', { plan: ['agent:reporter'] }), T0, limits)
  const before = next(conversation)
  assert.equal(before.participant, 'agent:reporter')
  const joined = join(before.conversation, 'user:ana', 'member', T0, limits)
  if (joined === 'full') assert.fail('full')
  conversation = replaceRetired(joined, 'agent:reporter', SECOND, T0, limits)
  const late = { participant: before.participant, epoch: before.epoch, words: words('late') }
  assert.equal(speak(conversation, late, T0, limits).status, 'stale', 'what it says after that is not heard')
  const turn = next(conversation)
  assert.deepEqual([turn.participant, turn.conversation.state], [SECOND, 'reporting'])
  const said = speak(turn.conversation, { ...turn, words: words('digest', { kind: 'digest' }), digest: digest('i1') }, T0, limits)
  if (said.status !== 'said') assert.fail(said.status)
  const asked = ask(said.conversation, 'user:ana', { reason: 'asks', words: words('why?', { kind: 'question' }) }, T0, limits)
  if (!('conversation' in asked)) assert.fail(asked.status)
  const answer = next(asked.conversation)
  assert.equal(answer.participant, SECOND, 'who asks nobody in particular is answered by it')
  assert.equal(seatOf(answer.conversation, SECOND), 'agent:reporter')
  const third = replaceRetired(answer.conversation, SECOND, 'agent:third', T0, limits)
  assert.deepEqual(
    [next(third).participant, seatOf(third, 'agent:third')],
    ['agent:third', 'agent:reporter'],
    'the question goes with the part',
  )
  const again = reopen(end(third, 'user_interrupt', T0, limits), { mode: 'protocol', plan: PLAN.slice(3), by: 'system' }, T0, limits)
  assert.equal(next(replaceRetired(again, 'agent:reporter', 'agent:third', T0, limits)).participant, 'agent:third', 'also in a later round')
})

test('without another of its role it goes on as it can, and ends where it cannot; people’s own conversations have no stand-in', () => {
  const opened = open(aboutIncident('i1'), T0, limits)
  const withoutHistorian = replaceRetired(opened, 'agent:historian', null, T0, limits)
  assert.deepEqual(withoutHistorian.plan, ['agent:triage', 'agent:diagnostics', 'agent:reporter'])
  const nobody = PLAN.reduce((conversation, id) => replaceRetired(conversation, id, null, T0, limits), opened)
  assert.equal(nobody.terminationReason, 'agent_retired')
  const theirs = replaceRetired(open(discussion('d', ['agent:reporter']), T0, limits), 'agent:reporter', SECOND, T0, limits)
  assert.deepEqual([theirs.terminationReason, theirs.participants.length], ['agent_retired', 1])
})

test('an agent that is retired says nothing in incidents that come later: another of its role does', async (t) => {
  const documents = await lmdbDocuments(t)
  const eventLog = await agentsLog(t)
  const evidence = compileSchema(EvidenceConfigSchema)({})
  if (evidence.status === 'invalid') assert.fail('defaults')
  const clock = systemClock
  const common = { documents, eventLog, clock, random: seededRandom(1), log: silentLogger, metrics: new Metrics() }
  const incidentOf = async () => null
  const team = new IncidentTeam({ ...common, config: evidence.value, sources: {} as never, incidentOf })
  const auditTrail = { record: async () => undefined }
  const config = agentsConfig({ sweepIntervalMs: 50, retryTurnMs: 10 })
  const agents = new Agents({ ...common, ...plainParts(common), config, processId: 'p-1', team, incidentOf, auditTrail })
  await agents.start()
  t.after(() => agents.stop())
  await agents.roster.ensureTeam('default')
  await agents.roster.introduce('default', { agentId: 'a-second-triage', role: 'triage', name: 'Second', bio: '' })
  await agents.roster.retire('default', 'triage')
  const incident = {
    ...{ id: 'i1', tenant: 'default', level: 'device', title: 'value at pump-1', cause: 'value', device: 'pump-1', type: 'pump' },
    ...{ place: '', labels: {}, state: 'open', severity: 'warning', escalation: 0, announced: true, acknowledgedBy: null },
    ...{ alertCount: 1, openCount: 1, acknowledgedCount: 0, devices: ['pump-1'], firstAlertId: 'a1', openedAt: 1, updatedAt: 1 },
    ...{ resolvedAt: null, correlationId: 'c-9' },
  }
  const change = { id: 'i1-1', sequence: 1, change: 'opened', incident }
  await eventLog.append(TOPICS.alerts, [{ key: 'i1', schema: INCIDENT, value: Buffer.from(JSON.stringify(change)) }])
  const ana = { kind: 'user', id: 'ana', tenant: 'default', roles: ['admin'] } as const
  const said = async (): Promise<string[]> => {
    const { items } = await agents.conversations.list({ ...ana, roles: ['admin'] })
    if (items.length === 0) return []
    return (await agents.conversations.messages({ ...ana, roles: ['admin'] }, 'i1', 0, 10)).map(({ from }) => from)
  }
  const endMs = clock.monotonicMs() + WAIT_MAX_MS
  while ((await said()).length < 2 && clock.monotonicMs() < endMs) await sleep(clock, 10)
  assert.deepEqual((await said()).slice(0, 2), ['agent:a-second-triage', 'agent:diagnostics'])
})
