import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import type { Sources } from '../../agents/evidence/sources.ts'
import { EVIDENCE_KINDS } from '../../agents/evidence/evidence.ts'
import { CLAIM_OPS, type ClaimOp } from '../../agents/summary/claim.ts'
import type { Draft } from '../../agents/summary/draft.ts'
import { passGate } from '../../agents/summary/gate.ts'
import { investigate } from '../../agents/summary/investigate.ts'
import type { Investigation } from '../../agents/summary/investigation.ts'
import { SECTION_TITLES } from '../../agents/summary/render.ts'
import { report } from '../../agents/summary/report.ts'
import { partsOf } from '../../agents/summary/slots.ts'
import type { Summary } from '../../agents/summary/summary.ts'
import { verify } from '../../agents/summary/verifier/verify.ts'
import { silentLogger } from '../../kernel/log.ts'
import { seededRandom } from '../../kernel/random.ts'
import { MUTATIONS } from '../testing/digest-mutations.ts'
import { goldenScenarios, tellScenario, type Scenario } from '../testing/digest-scenarios.ts'
import { blind, mapBounded, remembering } from '../testing/digest-sources.ts'
import { DigestWorld, evidenceConfig } from '../testing/digest-world.ts'

const config = evidenceConfig()
const local = { kind: 'local' } as const
const MODEL = { kind: 'llm', provider: 'claude', model: 'test' } as const
/** Some kinds of falsehood fit few of the digests: a direction is said by three. */
const KIND_TRIES_MIN = 3
/** Drafts that say the same in other words or another order, or are less sure. */
const REWORDINGS: Readonly<Record<string, (draft: Draft) => Draft>> = {
  'as it is': (draft) => draft,
  'sentences in another order': (draft) => ({ ...draft, sentences: draft.sentences.toReversed() }),
  'more words': (draft) => ({
    ...draft,
    sentences: draft.sentences.map((sentence) => ({ ...sentence, text: `There is a change here: ${sentence.text}` })),
  }),
  'less sure': (draft) => ({ ...draft, causes: draft.causes.map((cause) => ({ ...cause, level: 'INCONCLUSIVE' })) }),
}
let world: DigestWorld
let all: { scenario: Scenario; sources: Sources; investigation: Investigation; summary: Summary }[]

async function digest(scenario: Scenario, sources: Sources): Promise<{ investigation: Investigation; summary: Summary }> {
  world.clock.set(scenario.asOf)
  const investigation = await investigate(scenario.incident, sources, world.clock, new AbortController().signal, {
    config,
    log: silentLogger,
  })
  const passed = await passGate(report(investigation), { investigation, sources, author: local, config })
  assert.ok(passed.status === 'passed', `${scenario.tenant}: ${JSON.stringify(passed)}`)
  return { investigation, summary: passed.summary }
}

before(async () => {
  world = await DigestWorld.open()
  const scenarios = await Promise.all(goldenScenarios().map(({ family, seed }) => tellScenario(world, family, seed)))
  await world.settle()
  all = await mapBounded(scenarios, 4, async (scenario) => {
    const sources = remembering(scenario.family === 'blind' ? blind(world.sources) : world.sources)
    return { scenario, sources, ...(await digest(scenario, sources)) }
  })
})
after(() => world.close())

const stated = ({ draft, claims }: Summary): Set<ClaimOp> => {
  const ids = new Set<string>(draft.sentences.flatMap((sentence) => sentence.claims))
  return new Set(claims.filter(({ id }) => ids.has(id)).map(({ op }) => op))
}

describe('digests of simulated incidents', () => {
  test('name the cause, or say that they cannot', (t) => {
    let [right, determined, abstained] = [0, 0, 0]
    const wrong: string[] = []
    for (const { scenario, summary } of all) {
      const [first] = summary.causes
      const { cause } = scenario.expected
      if (cause === null) abstained += Number(first?.level === 'INCONCLUSIVE')
      else determined++
      right += Number(cause !== null && first?.code === cause && first.level !== 'INCONCLUSIVE')
      if (first?.level !== 'INCONCLUSIVE' && first?.code !== cause) wrong.push(`${scenario.tenant}: ${first?.level} ${first?.code}`)
      else if (cause !== null && first?.code !== cause) t.diagnostic(`missed ${scenario.tenant}: ${first?.level} ${first?.code}`)
    }
    const undetermined = all.length - determined
    t.diagnostic(
      `${all.length} incidents: cause right ${right}/${determined}, abstained ${abstained}/${undetermined}, confident and wrong ${wrong.length} ${wrong.join('; ')}`,
    )
    assert.ok(all.length >= 60)
    assert.ok(right >= 0.8 * determined && wrong.length <= 0.02 * all.length && abstained >= 0.95 * undetermined)
  })

  test('state what matters, and nothing that is not so', (t) => {
    let [wanted, found, forbidden] = [0, 0, 0]
    for (const { scenario, summary } of all) {
      const ops = stated(summary)
      for (const either of scenario.expected.must) {
        wanted++
        if (either.some((op) => ops.has(op))) found++
        else t.diagnostic(`${scenario.tenant} does not state ${either.join(' or ')}`)
      }
      for (const op of scenario.expected.mustNot) {
        if (ops.has(op)) t.diagnostic(`${scenario.tenant} states ${op}`)
        forbidden += Number(ops.has(op))
      }
      for (const code of scenario.expected.gaps)
        assert.ok(
          summary.gaps.some((gap) => gap.code === code),
          `${scenario.tenant} keeps back ${code}`,
        )
    }
    t.diagnostic(`must state ${found}/${wanted}, must not ${forbidden}`)
    assert.ok(found >= 0.95 * wanted)
    assert.equal(forbidden, 0)
  })

  test('say the figures that the devices sent', (t) => {
    let compared = 0
    for (const { scenario, investigation } of all) {
      const { sent, metric, asOf } = scenario
      const middle = (values: number[]): number => {
        const sorted = values.toSorted((a, b) => a - b)
        return ((sorted[(sorted.length - 1) >> 1] as number) + (sorted[sorted.length >> 1] as number)) / 2
      }
      const inside = ({ from, to }: { from: number; to: number }): number[] =>
        sent.filter(({ ts }) => ts >= from && ts < to).map(({ values }) => values[metric] as number)
      for (const { op, value, evidence, metric: handle } of investigation.claims) {
        const query = investigation.evidence[evidence[0] as 'E1']?.query
        let true_: number | undefined
        if (op === 'silent_for') true_ = asOf - Math.max(...sent.map(({ receivedAt }) => receivedAt))
        if (query?.kind === 'deviation' && handle === 'M1' && query.metric === metric) {
          const usual = middle(inside(query.baseline))
          if (op === 'usual') true_ = usual
          if (op === 'shift') true_ = middle(inside(query.window)) - usual
          if (op === 'peak') true_ = inside(query.window).toSorted((a, b) => Math.abs(b - usual) - Math.abs(a - usual))[0]
        }
        if (true_ === undefined) continue
        compared++
        assert.ok(Math.abs(true_ - value) < 1e-9, `${scenario.tenant}: ${op} ${value} is ${true_}`)
      }
    }
    t.diagnostic(`${compared} figures compared with the simulator's own`)
    assert.ok(compared > 100)
  })

  test('cite what each claim rests on, and nothing else', () => {
    for (const { scenario, summary, investigation } of all) {
      for (const { text, claims } of summary.draft.sentences) {
        const cited = partsOf(text).flatMap((part) => (part.kind === 'citation' ? [part.evidence] : []))
        const needed = new Set(summary.claims.filter(({ id }) => claims.includes(id)).flatMap(({ evidence }) => evidence))
        assert.deepEqual(new Set(cited), needed, `${scenario.tenant}: ${text}`)
      }
      for (const { op, evidence } of summary.claims) {
        assert.deepEqual(
          evidence.map((handle) => investigation.evidence[handle]?.kind),
          [CLAIM_OPS[op].kind],
        )
        assert.ok(evidence.every((handle) => investigation.evidence[handle]?.status === 'success'))
      }
      for (const { level, evidence } of summary.causes) {
        const kinds = new Set(evidence.map((handle) => investigation.evidence[handle]?.kind))
        assert.ok([...kinds].every((kind) => kind !== undefined && EVIDENCE_KINDS.includes(kind)))
        assert.ok(level !== 'CONFIRMED' || kinds.size >= 2)
      }
    }
  })

  test('say who wrote them, in the seven sections', () => {
    for (const { summary } of all) {
      assert.equal(summary.label, 'Written by rules and statistics, no language model')
      assert.deepEqual(
        summary.sections.map(({ title }) => title),
        [...SECTION_TITLES],
      )
      for (const { title, lines } of summary.sections) assert.ok(lines.length > 0 || title === 'Impact', `${title} is empty`)
    }
  })

  test('are the same, byte for byte, however often they are made', async () => {
    for (const family of ['level-shift', 'silence', 'common-mode', 'blind'] as const) {
      const { scenario, sources, summary } = all.find((one) => one.scenario.family === family) as (typeof all)[number]
      const wanted = JSON.stringify(summary)
      for (let run = 0; run < (family === 'level-shift' ? 100 : 25); run++)
        assert.equal(JSON.stringify((await digest(scenario, sources)).summary), wanted)
    }
  })

  test('are not refused when they are right, however a model words them', async (t) => {
    const refused: string[] = []
    let tried = 0
    for (const { scenario, sources, summary, investigation } of all) {
      for (const [change, reword] of Object.entries(REWORDINGS)) {
        tried++
        world.clock.set(scenario.asOf)
        const answer = await passGate(reword(summary.draft), { investigation, sources, author: MODEL, config })
        if (answer.status !== 'passed') refused.push(`${change}: ${scenario.tenant}: ${JSON.stringify(answer)}`)
      }
    }
    t.diagnostic(`${tried} drafts that are right, ${refused.length} refused`)
    assert.ok(tried >= 300)
    assert.deepEqual(refused, [])
  })

  test('are refused by the verifier once one thing in them is false', async (t) => {
    const random = seededRandom('mutations')
    const missed: string[] = []
    for (const [kind, mutate] of Object.entries(MUTATIONS)) {
      let [made, caught] = [0, 0]
      for (let round = 0; round < all.length && made < 60; round++) {
        const { scenario, sources, summary, investigation } = all[(round * 7) % all.length] as (typeof all)[number]
        const submission = structuredClone({ draft: summary.draft, investigation })
        if (!mutate(submission, random)) continue
        made++
        const verdict = await verify(submission, sources, { config })
        if (verdict.status === 'refused') caught++
        else missed.push(`${kind}: ${scenario.tenant}`)
      }
      t.diagnostic(`${kind}: ${caught}/${made}`)
      assert.ok(made >= KIND_TRIES_MIN, `${kind} was tried ${made} times`)
    }
    assert.ok(Object.keys(MUTATIONS).length >= 14)
    assert.deepEqual(missed, [])
  })
})
