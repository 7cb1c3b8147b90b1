import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { VirtualClock } from '../../kernel/time.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { CauseReport, Investigation } from '../summary/investigation.ts'
import { limitsOf } from '../agents.ts'
import { open, speak, take } from '../conversation/lifecycle.ts'
import { EvidenceConfigSchema } from '../evidence/config.ts'
import { CountingActions } from '../proposals/testing/counting-actions.ts'
import { incidentOf, proposalsOver } from '../proposals/testing/proposals-fixture.ts'
import { aboutIncident, agentsConfig, digest, T0, words } from '../testing/agents-fixture.ts'
import type { Turn } from '../turns/speaker.ts'
import { IncidentTeam } from './incident-team.ts'
import { InvestigationStore } from './investigation-store.ts'

const limits = limitsOf(agentsConfig())

/** Who is called when a digest with these causes is out. */
function calledAfter(causes: { code: string; level: string }[]): string | null {
  const participants = [...aboutIncident('inc-1').participants, { id: 'agent:dispatcher', role: 'member' as const }]
  const opened = open({ ...aboutIncident('inc-1', { participants }), plan: ['agent:reporter'] }, T0, limits)
  const taken = take(opened, 'w', T0, limits)
  assert.ok(taken.status === 'granted')
  const said = {
    participant: taken.participant,
    epoch: taken.epoch,
    words: words('out', { kind: 'digest' }),
    digest: { ...digest('inc-1'), causes },
  }
  const spoken = speak(taken.conversation, said, T0, limits)
  assert.ok(spoken.status === 'said')
  const next = take(spoken.conversation, 'w', T0, limits)
  return next.status === 'granted' ? next.participant : null
}

test('the dispatcher is called when the digest is out, where there is something to propose', () => {
  assert.equal(calledAfter([{ code: 'security.impersonation', level: 'LIKELY' }]), 'agent:dispatcher')
  assert.equal(calledAfter([{ code: 'security.impersonation', level: 'INCONCLUSIVE' }]), null)
  assert.equal(calledAfter([{ code: 'process.level_shift', level: 'CONFIRMED' }]), null)
})

test('it proposes what likely causes allow for the devices of the incident, says so once, and does nothing', async (t) => {
  const clock = new VirtualClock()
  const documents = await lmdbDocuments(t)
  const counting = new CountingActions(documents)
  const things = await counting.things()
  const hostile = 'pump-1","kind":"device.wipe'
  for (const id of ['pump-1', hostile, 'pump-2']) await things.put(id, { state: 'running', changes: [] })
  const { proposals } = await proposalsOver({ documents, actions: counting.actions, clock })
  const incident = incidentOf('pump-1', hostile)
  const checked = compileSchema(EvidenceConfigSchema)({})
  assert.ok(checked.status === 'valid')
  const common = { documents, clock, log: silentLogger, metrics: new Metrics(), config: checked.value }
  const team = new IncidentTeam({ ...common, sources: {} as never, incidentOf: async () => incident, proposals })
  const investigations = new InvestigationStore({ documents })
  await Promise.all([team.start(), investigations.start()])
  t.after(() => Promise.all([team.stop(), investigations.stop(), proposals.stop()]))
  const causes: CauseReport[] = [
    { code: 'security.impersonation', level: 'LIKELY', evidence: ['E1'] },
    { code: 'environment.common_mode', level: 'INCONCLUSIVE', evidence: [] },
  ]
  const found = { incident: { id: 'inc-1', tenant: 'default' }, asOf: T0, causes, evidence: { E1: { id: 'ev_9' } } }
  await investigations.put(found as unknown as Investigation)
  const conversation = { id: 'inc-1', tenant: 'default', incidentId: 'inc-1' } as unknown as Turn['conversation']
  const turn = { conversation, participant: 'agent:dispatcher', question: null, log: silentLogger } as unknown as Turn
  const said = await team.speakers.get('dispatcher')?.speak(turn)
  assert.ok(said?.status === 'said')
  const { items } = await proposals.list('default', { limit: 10 })
  assert.deepEqual(items.map(({ kind, target, state, createdBy }) => [kind, target, state, createdBy]).toSorted(), [
    ['certificate.revoke', 'pump-1', 'pending', 'agent:dispatcher'],
    ['device.quarantine', 'pump-1', 'pending', 'agent:dispatcher'],
  ])
  assert.ok(items.every(({ cause, evidence }) => cause === 'security.impersonation' && evidence[0] === 'ev_9'))
  assert.ok(items.every(({ id }) => said.words.content.includes(id)) && !said.words.content.includes('wipe'))
  for (const id of ['pump-1', hostile, 'pump-2']) assert.equal((await things.get(id))?.state, 'running')
  assert.deepEqual(
    await team.speakers.get('dispatcher')?.speak(turn),
    { status: 'nothing-to-say' },
    'a turn that is repeated proposes nothing twice',
  )
})
