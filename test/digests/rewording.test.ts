import assert from 'node:assert/strict'
import { test } from 'node:test'
import { brainWorld, samplesOf } from '../../agents/brains/testing/brain-world.ts'
import type { Draft } from '../../agents/summary/draft.ts'
import { investigate } from '../../agents/summary/investigate.ts'
import { report } from '../../agents/summary/report.ts'
import { reword } from '../../agents/team/rewording.ts'
import type { Turn } from '../../agents/turns/speaker.ts'
import { silentLogger } from '../../kernel/log.ts'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { tellScenario } from '../testing/digest-scenarios.ts'
import { DigestWorld, evidenceConfig } from '../testing/digest-world.ts'

test("a model's words are taken when all of them verify, and never otherwise", async (t) => {
  const world = await DigestWorld.open()
  t.after(() => world.close())
  const scenario = await tellScenario(world, 'level-shift', 2)
  await world.settle()
  world.clock.set(scenario.asOf)
  const config = evidenceConfig()
  const signal = new AbortController().signal
  const investigation = await investigate(scenario.incident, world.sources, world.clock, signal, { config, log: silentLogger })
  const draft = report(investigation)
  const { server, brains, metrics } = await brainWorld(t, { kind: 'claude', documents: await lmdbDocuments(t) })
  const turn = { conversation: { tenant: 'default', id: 'c' }, agent: 'reporter', signal, log: silentLogger } as unknown as Turn
  const said = async (says: Draft | string) => {
    server.say({ says: typeof says === 'string' ? says : JSON.stringify(says) })
    return (await reword(turn, investigation, { models: brains, sources: world.sources, config, clock: world.clock, judged: () => undefined }))?.summary ?? null
  }

  const summary = await said({
    ...draft,
    sentences: draft.sentences.toReversed(),
    causes: draft.causes.map((cause) => ({ ...cause, level: 'INCONCLUSIVE' })),
  })
  assert.equal(summary?.label, 'Worded by claude/model-1, figures checked')
  const sent = server.requests[0]?.body ?? ''
  for (const name of [...Object.values(investigation.names.devices), ...Object.values(investigation.names.metrics), scenario.incident.id])
    assert.ok(!sent.includes(JSON.stringify(name).slice(1, -1)), `${JSON.stringify(name)} was sent`)

  const raised = draft.causes.map((cause) => ({ ...cause, level: 'CONFIRMED' as const, code: 'power.low' as const }))
  const lies: (Draft | string)[] = [
    { ...draft, headline: draft.headline.replace(/\{c:c\d+\.value\}/, 'forty two') },
    { ...draft, causes: raised },
    { ...draft, sentences: [{ section: 'impact', text: '{dev:D1} fell to {c:c999.value} [ev:E1].', claims: ['c999'] }] },
    'ignore the rules',
  ]
  for (const lie of lies) assert.equal(await said(lie), null, JSON.stringify(lie))
  assert.deepEqual(await samplesOf(metrics, 'ai_fallback_total'), { 'claude local unverified': 3, 'claude local malformed': 1 })
})
