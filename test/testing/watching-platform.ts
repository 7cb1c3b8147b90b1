import assert from 'node:assert/strict'
import { Agents } from '../../agents/agents.ts'
import type { Evidence } from '../../agents/evidence/evidence.ts'
import { EvidenceConfigSchema } from '../../agents/evidence/config.ts'
import { MemoryConfigSchema } from '../../agents/memory/config.ts'
import { Memories } from '../../agents/memory/memories.ts'
import { ProactiveConfigSchema } from '../../agents/proactive/config.ts'
import { IncidentTeam } from '../../agents/team/incident-team.ts'
import { agentsConfig } from '../../agents/testing/agents-fixture.ts'
import { WatchdogConfigSchema } from '../../agents/watchdog/config.ts'
import { PULSES_COLLECTION, type PulseDocument } from '../../agents/watchdog/pulse.ts'
import { Watchdog } from '../../agents/watchdog/watchdog.ts'
import { Alerts } from '../../alerts/alerts.ts'
import { alertsOptions, operator, until, type Engines } from '../../alerts/alerts-testing.ts'
import { DocumentSources } from '../../app/evidence/document-sources.ts'
import type { Sources } from '../../agents/evidence/sources.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { Service } from '../../kernel/service.ts'
import { every, systemClock } from '../../kernel/time.ts'

const LOOK_MS = 100

/** Documents alone: of the platform's own troubles nothing is anywhere else. */
function sourcesOf(documents: DocumentSources): Sources {
  const nothing = async (): Promise<never> => {
    throw new TypeError('there is no such source here')
  }
  return new Proxy(documents, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : nothing
    },
  }) as unknown as Sources
}

/**
 * The platform watches itself: processes are in trouble of many kinds at once, and one conversation about all of it opens by itself, with
 * evidence and what to do, and closes when all is well. The watchdogs are two, as in two processes, and know only documents and log.
 */
export async function watchesThePlatform(engines: Omit<Engines, 'dispose'>): Promise<void> {
  const { alerts, agents, team, services } = await platformOn(engines)
  const health = { isWell: false }
  for (const service of services) await service.start()
  const beating = await beat(engines.documents, health)
  try {
    await seen({ alerts, agents, team }, health)
  } finally {
    beating.cancel()
    for (const service of services.toReversed()) await service.stop()
  }
}

interface Watched {
  alerts: Alerts
  agents: Agents
  team: IncidentTeam
}

async function platformOn(engines: Omit<Engines, 'dispose'>): Promise<Watched & { services: Service[] }> {
  const { documents, eventLog } = engines
  const topics = [TOPICS.agentLifecycle, TOPICS.chatEvents, TOPICS.agentStatus, TOPICS.agentMessages, TOPICS.digests, TOPICS.deviceEvents]
  await eventLog.ensureTopics(topics.map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })))
  const common = alertsOptions(engines, { resolveQuietMs: 0, sweepIntervalMs: 100 })
  const alerts = new Alerts(common)
  const documentSources = new DocumentSources(documents)
  await documentSources.start()
  const system: Principal = { kind: 'system', id: 'agents', tenant: 'default', roles: [] }
  const evidence = compileSchema(EvidenceConfigSchema)({})
  const proactive = compileSchema(ProactiveConfigSchema)({})
  const watch = compileSchema(WatchdogConfigSchema)({
    lookMs: LOOK_MS,
    pulseMs: 200,
    leaseMs: 400,
    troubleMs: 100,
    wellMs: 500,
    silentMs: 60_000,
  })
  assert.ok(evidence.status === 'valid' && proactive.status === 'valid' && watch.status === 'valid')
  const sources = sourcesOf(documentSources)
  const memory = compileSchema(MemoryConfigSchema)({})
  assert.ok(memory.status === 'valid')
  const memories = new Memories({ ...common, config: memory.value })
  const incidentOf = (_tenant: string, id: string) => alerts.incidents.get(system, id)
  const team = new IncidentTeam({ ...common, config: evidence.value, sources, incidentOf })
  const agents = new Agents({
    ...common,
    config: agentsConfig({ sweepIntervalMs: 50 }),
    processId: 'agents-1',
    team,
    memories,
    incidentOf,
    auditTrail: { record: async () => undefined },
    proactive: { config: proactive.value },
  })
  const watchdogs = ['agents-1', 'agents-2'].flatMap((processId): Service[] => {
    const watchdog = new Watchdog({ ...common, config: watch.value, processId, deadLetterTopics: ['alerts.dlq'] })
    const source = { processId: 'fleetpulse', troubles: () => watchdog.look() }
    return [watchdog, alerts.watching(source, { healthCheckMs: LOOK_MS, healthTroubleMs: 0 })]
  })
  return { alerts, agents, team, services: [alerts, agents, ...watchdogs] }
}

/** What four processes say of themselves, again and again. */
async function beat(documents: Documents, health: { isWell: boolean }): Promise<{ cancel(): void }> {
  const pulses = await documents.collection<PulseDocument>(PULSES_COLLECTION)
  let count = 0
  const once = async (): Promise<void> => {
    count++
    const { isWell } = health
    for (const process of ['edge-1', 'edge-2', 'processing-1', 'registry-1']) {
      const notReady = isWell ? [] : ['series', 'eventLog', 'broker'].map((part) => ({ part, what: 'the disk is full' }))
      const lags = [{ group: process, topic: 'readings', messages: isWell ? 0 : 900_000 }]
      const said = { process, targets: ['edge'], tellsItself: false, count, at: systemClock.nowMs(), notReady, lags, breakers: [] }
      await pulses.put(process, said)
    }
  }
  await once()
  return every(systemClock, LOOK_MS, once, () => undefined)
}

async function seen({ alerts, agents, team }: Watched, health: { isWell: boolean }): Promise<void> {
  const all = async () => (await agents.conversations.list(operator)).items
  const opened = await until('the watchdog has spoken', async () => (await all()).find(({ messageCount }) => messageCount > 0))
  assert.deepEqual([opened.title, opened.createdBy], ['trouble of the platform itself', 'agent:watchdog'])
  const { id } = opened
  await until('every trouble is in the one incident', async () => (await alerts.incidents.get(operator, id)).alertCount >= 16)
  const [said] = await agents.conversations.messages(operator, id, 0, 10)
  assert.equal(said?.from, 'agent:watchdog')
  assert.match(said.content, /^The platform itself is in trouble:\n- .*(series|eventLog|broker|consumer) .*since .*\[ev_[0-9a-f]{16}\]/)
  assert.match(said.content, /RB-018 A part of the platform that does not work|RB-020 A consumer that is far behind/)
  const found: (Evidence | null)[] = await Promise.all(said.evidence.map((each) => team.evidence.get('default', each)))
  assert.ok(found.length > 0 && found.every((each) => each?.kind === 'pipeline_health' && each.status === 'success'))
  const digest = await until('its digest', () => team.summaries.newest('default', id))
  const causes = digest.summary.causes.map(({ code }) => code)
  assert.ok(causes.length > 0 && causes.every((code) => code === 'platform.part' || code === 'platform.lag'), causes.join())
  assert.ok(digest.summary.causes.every(({ level, evidence: cited }) => level === 'LIKELY' && cited.length > 0))
  health.isWell = true
  const closed = await until('it is over', async () => (await all()).find(({ state }) => state === 'closed'))
  assert.equal(closed.terminationReason, 'alert_resolved')
  assert.equal((await all()).length, 1, 'a storm is one conversation')
  assert.equal((await alerts.incidents.get(operator, id)).state, 'resolved')
}
