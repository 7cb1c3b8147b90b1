import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Agents } from '../../agents/agents.ts'
import { brainWorld } from '../../agents/brains/testing/brain-world.ts'
import { IncidentTeam } from '../../agents/team/incident-team.ts'
import { agentsConfig, agentsLog, plainParts } from '../../agents/testing/agents-fixture.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import { INCIDENT, incidentKey, type Incident, type IncidentChangeKind } from '../../contracts/incident.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { systemClock } from '../../kernel/time.ts'
import { tellScenario } from '../testing/digest-scenarios.ts'
import { remembering } from '../testing/digest-sources.ts'
import { DigestWorld, evidenceConfig } from '../testing/digest-world.ts'
import { honestReply } from '../testing/honest-model.ts'
import { until } from '../testing/platform-process.ts'

/* T31: an incident that comes and goes (FLEETPULSE_TEST_FLAPS times) with the same evidence costs no call of a model, whatever the first call brought. */

const FLAPS = Number(process.env.FLEETPULSE_TEST_FLAPS ?? 8)
const viewer: Principal = { kind: 'user', id: 'vic', tenant: 'default', roles: ['viewer'] }

for (const [what, says] of [
  ['worded the digest', honestReply],
  ['brought nothing to publish', () => 'it is fine'],
] as const) {
  test(`flaps with unchanged evidence ask a model nothing after it ${what}`, async (t) => {
    const world = await DigestWorld.open()
    t.after(() => world.close())
    const scenario = await tellScenario(world, 'level-shift', 2)
    await world.settle()
    world.clock.set(scenario.asOf)
    const { incident } = scenario
    const { server, brains: models } = await brainWorld(t, { kind: 'compatible', documents: world.documents })
    server.reply(says)
    const { documents, clock } = world
    const eventLog = await agentsLog(t)
    const team = new IncidentTeam({
      ...{ documents, clock, log: silentLogger, config: evidenceConfig(), sources: remembering(world.sources), models },
      metrics: new Metrics(),
      incidentOf: async () => incident,
    })
    const agents = new Agents({
      ...{ documents, eventLog, clock: systemClock, random: seededRandom(1), log: silentLogger, metrics: new Metrics() },
      ...{ config: agentsConfig({ sweepIntervalMs: 20 }), processId: 'p1', team, incidentOf: async () => incident },
      ...plainParts({ documents, clock: systemClock }),
      auditTrail: { record: async () => undefined },
    })
    await agents.start()
    t.after(() => agents.stop())
    let sequence = 0
    const tell = (change: IncidentChangeKind, changes: Partial<Incident> = {}): Promise<unknown> => {
      const told = { id: `${incident.id}-${++sequence}`, sequence, change, incident: { ...incident, announced: true, ...changes } }
      return eventLog.append(TOPICS.alerts, [{ key: incidentKey(incident), schema: INCIDENT, value: Buffer.from(JSON.stringify(told)) }])
    }
    const reader = { ...viewer, tenant: incident.tenant }
    const at = (state: string) =>
      until(`the conversation is ${state}`, async () => {
        const found = await agents.conversations.get(reader, incident.id).catch(() => undefined)
        return found?.state === state && found.speaker === null && found.waiting.length === 0 && found
      })
    await tell('opened')
    const first = await at('published')
    const asked = server.requests.length
    assert.ok(asked > 0, 'a model was asked once')
    for (let flap = 0; flap < FLAPS; flap++) {
      await tell('resolved', { state: 'resolved' })
      await at('closed')
      await tell('reopened')
      await at('published')
    }
    assert.equal(server.requests.length, asked)
    assert.equal((await agents.conversations.get(reader, incident.id)).revision, first.revision)
  })
}
