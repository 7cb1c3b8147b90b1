import assert from 'node:assert/strict'
import { test, type TestContext } from 'node:test'
import type { Principal } from '../../contracts/authorisation.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock, VirtualClock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { limitsOf } from '../agents.ts'
import { BusKey } from '../bus/bus-key.ts'
import { ConversationStore } from '../conversation/conversation-store.ts'
import { Roster } from '../roster/roster.ts'
import { agentsConfig, agentsLog, T0 } from '../testing/agents-fixture.ts'
import { ProactiveConfigSchema, type ProactiveConfig } from './config.ts'
import type { AlertFact, DomainFacts } from './domain-facts.ts'
import { ProactiveEngine } from './engine.ts'
import { Firings } from './firings.ts'
import { ProactiveRuleSchema } from './rule.ts'
import { ProactiveRules } from './rules-service.ts'

const ana: Principal = { kind: 'user', id: 'ana', tenant: 'default', roles: ['operator'] }

interface World {
  clock: VirtualClock
  documents: Documents
  alerts: AlertFact[]
  engine: ProactiveEngine
  other: ProactiveEngine
  rules: ProactiveRules
  firings: Firings
  store: ConversationStore
}

async function begin(t: TestContext, changes: Partial<ProactiveConfig> = {}): Promise<World> {
  const [documents, eventLog, clock] = [await lmdbDocuments(t), await agentsLog(t, systemClock), new VirtualClock(T0)]
  const checked = compileSchema(ProactiveConfigSchema)(changes)
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  const config = agentsConfig()
  const common = { documents, eventLog, clock, log: silentLogger, metrics: new Metrics(), config, limits: limitsOf(config) }
  const key = new BusKey(common)
  await key.start()
  const [store, roster] = [new ConversationStore({ ...common, key }), new Roster({ ...common, key })]
  const ours = { ...common, config: checked.value }
  const [rules, firings] = [new ProactiveRules(ours), new Firings(ours)]
  for (const part of [store, roster, rules, firings]) await part.start()
  t.after(async () => {
    for (const part of [firings, rules, roster, store]) await part.stop()
  })
  const alerts: AlertFact[] = []
  const facts: DomainFacts = {
    tenants: async () => ['default'],
    alerts: async (_tenant, fromMs) => ({ items: alerts.filter(({ openedAt }) => openedAt >= fromMs), fromMs }),
    expiries: async () => [],
    devices: async () => [],
    limits: async () => [],
    means: async () => [],
  }
  const engineOf = (processId: string): ProactiveEngine =>
    new ProactiveEngine({ ...ours, metrics: new Metrics(), facts, rules, firings, store, roster, processId })
  return { clock, documents, alerts, engine: engineOf('p-1'), other: engineOf('p-2'), rules, firings, store }
}

function befall({ alerts, clock }: World, cause: string, devices: number): void {
  for (let i = 0; i < devices; i++) {
    const openedAt = clock.nowMs() - 1_000
    alerts.push({ id: `${cause}-${i}`, device: `d-${i}`, type: 'pump', cause, metric: 'pressure', labels: {}, openedAt })
  }
}

test('a pattern begins one conversation, however often and by whomever it is seen; when it is over the conversation ends', async (t) => {
  const world = await begin(t)
  const { engine, other, firings, store, clock } = world
  befall(world, 'value', 8)
  await engine.look()
  await other.look()
  await engine.look()
  const [firing, ...more] = await firings.list('default', 10)
  assert.deepEqual([more.length, firing?.rule, firing?.deviceCount, firing?.state], [0, 'same-cause-by-type', 8, 'fired'])
  const id = String(firing?.conversation)
  const conversation = await store.collection.get(id)
  assert.deepEqual([conversation?.createdBy, conversation?.plan, conversation?.deviceCount], ['agent:triage', ['agent:triage'], 8])
  assert.equal(conversation?.title, 'value of pressure at 8 devices with type pump')
  const turn = { conversation, agent: 'triage', participant: 'agent:triage', epoch: 1, question: null } as never
  const said = await engine.speak(turn)
  assert.ok(said?.status === 'said' && said.words.evidence.length === 8)
  assert.match(said.words.content, /- devices that have it: 8\n[^]*no language model\. Nobody has acted\.$/)
  assert.equal(await engine.speak({ ...(turn as object), conversation: { ...conversation, id: 'another' } } as never), null)
  // It is not seen any more; a while later it is over, and nobody talks about it any longer.
  world.alerts.length = 0
  await clock.advance(16 * 60_000)
  await other.look()
  assert.equal((await firings.list('default', 10))[0]?.state, 'over')
  assert.equal((await store.collection.get(id))?.terminationReason, 'goal_met')
  // It comes again: within its cooldown nothing is begun.
  befall(world, 'value', 9)
  await other.look()
  assert.equal((await firings.list('default', 10)).length, 1)
  await clock.advance(6 * 3_600_000)
  befall(world, 'value', 9)
  await other.look()
  assert.equal((await firings.list('default', 10)).length, 2)
})

test('what was fired and not begun is begun after a crash; an hour has its bound', async (t) => {
  const world = await begin(t, { firingsPerHourMax: 2 })
  const { engine, firings, store, rules } = world
  const [rule] = (await rules.list('default')).filter(({ id }) => id === 'same-cause-by-type')
  assert.ok(rule !== undefined)
  const match = { key: 'k', title: 'a pattern', devices: [], deviceCount: 0, figures: {}, evidence: [] }
  const fired = await firings.see('default', rule, match)
  assert.ok(fired !== null && fired !== 'too-many')
  assert.equal(await store.collection.get(fired.conversation), null)
  for (const cause of ['value', 'silence', 'rule']) befall(world, cause, 8)
  await engine.look()
  assert.equal((await store.collection.get(fired.conversation))?.title, 'a pattern')
  assert.equal((await firings.list('default', 10)).length, 2)
  assert.equal(await store.collection.count({}), 2)
})

test('how good it was is what people said, and nothing until they did', async (t) => {
  const world = await begin(t)
  befall(world, 'value', 8)
  befall(world, 'silence', 8)
  await world.engine.look()
  const [one, two] = await world.firings.list('default', 10)
  assert.deepEqual(await world.firings.quality('default'), { begun: 2, rated: 0, accuracy: null, satisfaction: null, adoption: null })
  await world.firings.rate(ana, String(one?.id), { verdict: 'right', acted: true, stars: 5 })
  await world.firings.rate(ana, String(two?.id), { verdict: 'wrong', acted: false, stars: null })
  assert.deepEqual(await world.firings.quality('default'), { begun: 2, rated: 2, accuracy: 0.5, satisfaction: 5, adoption: 0.5 })
  await assert.rejects(world.firings.rate({ ...ana, tenant: 'other' }, String(one?.id), { verdict: 'right', acted: true, stars: 1 }), {
    code: 'NOT_FOUND',
  })
})

test('a tenant changes the rules that come with the platform, and has its own; each change is a version', async (t) => {
  const { rules, engine, firings, ...world } = await begin(t, { rulesMax: 1 })
  const { id, ruleVersion, builtIn, changedBy, changedAt, ...settings } = await rules.get('default', 'same-cause-by-type')
  assert.deepEqual([id, ruleVersion, builtIn, changedBy, changedAt], ['same-cause-by-type', 0, true, null, null])
  await rules.replace(ana, id, { ...settings, enabled: false }, 0)
  assert.equal((await rules.get('default', id)).ruleVersion, 1)
  assert.equal((await rules.get('other', id)).ruleVersion, 0, 'another tenant has its own')
  await assert.rejects(rules.replace(ana, id, settings, 0), { code: 'VERSION_MISMATCH' })
  befall({ rules, engine, firings, ...world }, 'value', 8)
  await engine.look()
  assert.deepEqual(await firings.list('default', 10), [], 'it is switched off')
  await rules.remove(ana, id)
  assert.equal((await rules.get('default', id)).enabled, true, 'it is as it came')
  const check = compileSchema(ProactiveRuleSchema)
  const own = check({ name: 'mine', when: { kind: 'alarm-rate', alertsMin: 3 } })
  assert.ok(own.status === 'valid')
  const created = await rules.create(ana, own.value)
  assert.deepEqual(created.when, {
    ...{ kind: 'alarm-rate', matchers: [], alertsMin: 3, withinMs: 7_200_000, baselineMs: 86_400_000 },
  })
  assert.deepEqual([created.ruleVersion, created.builtIn, created.changedBy], [1, false, 'user:ana'])
  await assert.rejects(rules.create(ana, own.value), { code: 'LIMIT_REACHED' })
  for (const when of [
    { kind: 'anything' },
    { kind: 'drift', limit: { metric: 'm', is: 'equal', raise: 1 } },
    { kind: 'same-cause', run: 'code' },
  ])
    assert.equal(check({ name: 'n', when }).status, 'invalid', JSON.stringify(when))
})
