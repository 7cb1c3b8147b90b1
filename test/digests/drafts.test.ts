import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import type { Draft } from '../../agents/summary/draft.ts'
import { passGate } from '../../agents/summary/gate.ts'
import { investigate } from '../../agents/summary/investigate.ts'
import type { Investigation } from '../../agents/summary/investigation.ts'
import { modelView } from '../../agents/summary/model-view.ts'
import { report } from '../../agents/summary/report.ts'
import type { Sources } from '../../agents/evidence/sources.ts'
import { EnvironmentError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { anyText } from '../../kernel/testing/any-text.ts'
import { tellScenario, type Family, type Scenario } from '../testing/digest-scenarios.ts'
import { around, remembering } from '../testing/digest-sources.ts'
import { DigestWorld, evidenceConfig } from '../testing/digest-world.ts'
import { PAYLOADS, SPEECH } from '../testing/hostile-text.ts'

const config = evidenceConfig()
const model = { kind: 'llm', provider: 'claude', model: 'test' } as const
let world: DigestWorld
const cases: { scenario: Scenario; sources: Sources; investigation: Investigation; draft: Draft }[] = []

async function look(scenario: Scenario, sources: Sources, incident = scenario.incident): Promise<Investigation> {
  world.clock.set(scenario.asOf)
  return investigate(incident, sources, world.clock, new AbortController().signal, { config, log: silentLogger })
}
const gate = (draft: unknown, investigation: Investigation, sources: Sources) =>
  passGate(draft, { investigation, sources, author: model, config })

before(async () => {
  world = await DigestWorld.open()
  const families: Family[] = ['level-shift', 'power', 'firmware', 'impersonation']
  const scenarios = await Promise.all(families.map((family) => tellScenario(world, family, 2)))
  await world.settle()
  for (const scenario of scenarios) {
    const sources = remembering(world.sources)
    const investigation = await look(scenario, sources)
    cases.push({ scenario, sources, investigation, draft: report(investigation) })
  }
})
after(() => world.close())

describe("a model's draft", () => {
  test('passes when it says what was found in words of its own, and says who worded it', async () => {
    for (const { investigation, sources, draft } of cases) {
      const reworded: Draft = {
        ...draft,
        sentences: draft.sentences.toReversed().map((sentence) => ({ ...sentence, text: `There is a change here: ${sentence.text}` })),
        causes: draft.causes.map((cause) => ({ ...cause, level: 'INCONCLUSIVE' })),
      }
      const answer = await gate(JSON.stringify(reworded), investigation, sources)
      assert.ok(answer.status === 'passed', JSON.stringify(answer))
      assert.equal(answer.summary.label, 'Worded by claude/test, figures checked')
      assert.equal(answer.summary.level, 'INCONCLUSIVE')
    }
  })

  test('passes with plain words for a direction, and not with those for the other one', async () => {
    const { investigation, sources, draft } = cases[0] as (typeof cases)[number]
    const shift = investigation.claims.find(({ op }) => op === 'shift')
    assert.ok(shift !== undefined)
    const said = (word: string): Draft => ({
      ...draft,
      sentences: draft.sentences.map((one) => ({ ...one, text: one.text.replace(`{c:${shift.id}.direction}`, word) })),
    })
    const [right, wrong] = shift.value > 0 ? ['climbed', 'dropped'] : ['dropped', 'climbed']
    assert.equal((await gate(said(right), investigation, sources)).status, 'passed')
    assert.equal((await gate(said(wrong), investigation, sources)).status, 'refused')
  })

  test('is refused whatever hostile things stand in it', async (t) => {
    let tried = 0
    for (const { investigation, sources, draft } of cases) {
      for (const [name, candidate] of hostileDrafts(draft, investigation)) {
        tried++
        assert.equal((await gate(candidate, investigation, sources)).status, 'refused', name)
      }
    }
    t.diagnostic(`${tried} hostile drafts, none passed`)
    assert.ok(tried > 500)
  })

  test('is refused, and never throws, whatever it is', async () => {
    const { investigation, sources, draft } = cases[0] as (typeof cases)[number]
    const nearly = fc.record({
      headline: fc.string(),
      sentences: fc.array(fc.anything()),
      causes: fc.constant(draft.causes),
      checks: fc.constant(draft.checks),
    })
    const property = fc.asyncProperty(fc.oneof(fc.anything(), fc.json(), nearly, anyText()), async (candidate) => {
      assert.equal((await gate(candidate, investigation, sources)).status, 'refused')
    })
    await fc.assert(property, { seed: 11, numRuns: 400 })
  })

  test('cannot change after it was checked', async () => {
    const { investigation, sources, draft } = cases[0] as (typeof cases)[number]
    const mine = structuredClone(draft)
    const answer = await gate(mine, investigation, sources)
    mine.headline = 'changed'
    assert.ok(answer.status === 'passed')
    assert.deepEqual(answer.summary.draft.headline, draft.headline)
  })
})

function* hostileDrafts(draft: Draft, investigation: Investigation): Generator<[string, unknown]> {
  const [first, ...rest] = draft.sentences
  const saying = (text: string): Draft => ({ ...draft, sentences: [{ ...(first as Draft['sentences'][number]), text }, ...rest] })
  // Slots alone are what a model is to write: whether they are right is asked elsewhere.
  for (const payload of PAYLOADS.filter((text) => !/^(\{c:c1\.value\}|\[ev:E1\])$/.test(text))) {
    yield [`sentence ${payload}`, saying(`${first?.text} ${payload}`)]
    yield [`headline ${payload}`, { ...draft, headline: payload }]
  }
  for (const speech of SPEECH) yield [`speech ${speech}`, saying(`${first?.text} ${speech}`)]
  yield ['invented figure', saying('It was 42.7 bar.')]
  yield [
    'unknown claim',
    { ...draft, sentences: [{ section: 'impact', text: '{c:c99.value} [ev:E1]', claims: ['c99'] }, ...draft.sentences] },
  ]
  yield ['unknown evidence', { ...draft, causes: draft.causes.map((cause) => ({ ...cause, evidence: ['E99'] })) }]
  yield ['a tool', { ...draft, tool_calls: [{ name: 'run', arguments: 'rm' }] }]
  yield ['a control', { ...draft, control: 'close' }]
  yield ['an action', { ...draft, proposals: ['device.wipe'] }]
  yield ['no causes', { ...draft, causes: [] }]
  yield ['another runbook', { ...draft, checks: ['RB-999'] }]
  yield ['a prototype', `{"__proto__":{"x":1},${JSON.stringify(draft).slice(1)}`]
  yield ['a constructor', `{"constructor":{"prototype":{"x":1}},${JSON.stringify(draft).slice(1)}`]
  yield ['deep', `${'['.repeat(30_000)}${']'.repeat(30_000)}`]
  yield ['deep objects', `${'{"a":'.repeat(9_000)}1${'}'.repeat(9_000)}`]
  yield ['huge', 'x'.repeat(10_000_000)]
  yield ['huge within', saying('a '.repeat(5_000_000))]
  yield ['not JSON', '<html>']
  yield ['cut', JSON.stringify(draft).slice(0, -20)]
  yield ['fenced', `\`\`\`json\n${JSON.stringify(draft)}\n\`\`\``]
  yield ['nothing', '']
  yield ['null', null]
  yield ['undefined', undefined]
  yield ['a number', 7]
  yield ['a cycle', ((): object => Object.assign({}, { self: null }, ((o: Record<string, unknown>) => ((o.self = o), o))({})))()]
  const raised = investigation.causes.findIndex(({ level }) => level !== 'CONFIRMED')
  if (raised >= 0)
    yield ['surer', { ...draft, causes: draft.causes.map((cause, index) => (index === raised ? { ...cause, level: 'CONFIRMED' } : cause)) }]
}

/** What comes from outside, by where it stands. */
const FIELDS = ['device', 'metric', 'unit', 'site', 'text', 'title', 'label', 'boot', 'value', 'incident-title', 'part', 'note'] as const
type Field = (typeof FIELDS)[number]
/** Some ten times as long: a minute. */
const EACH_FIELD = process.env.FLEETPULSE_TEST_EACH_FIELD === '1'

/** The same stores, had the fields this text instead: questions are translated back, answers there. */
function tainting(sources: Sources, scenario: Scenario, metric: string | null, fields: readonly Field[], payload: string): Sources {
  const has = (field: Field): boolean => fields.includes(field)
  const device = has('device') ? `${payload}-canary` : scenario.device
  const renamed = has('metric') && metric !== null ? `${payload}-canary-metric` : metric
  const there = (value: unknown): unknown => {
    if (value === scenario.device) return device
    if (value === metric && metric !== null) return renamed
    if (Array.isArray(value)) return value.map(there)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [name === metric && renamed !== null ? renamed : name, tainted(name, there(one))]),
    )
  }
  const tainted = (name: string, value: unknown): unknown => {
    if (has('unit') && name === 'unit') return payload
    if (has('site') && name === 'site') return payload
    if (has('text') && name === 'text') return payload
    if (has('title') && name === 'title') return payload
    if (has('label') && name === 'labels') return { site: payload, [payload]: payload }
    if (has('boot') && name === 'boot') return payload
    if (has('part') && name === 'part') return payload
    if (has('note') && (name === 'note' || name === 'correlationId' || name === 'fingerprint')) return payload
    if (has('value') && name === 'values') return { ...(value as object), mode: payload }
    return value
  }
  const back = (value: unknown): unknown => {
    if (value === device) return scenario.device
    if (value === renamed && renamed !== null) return metric
    if (Array.isArray(value)) return value.map(back)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, back(one)]))
  }
  return around(
    sources,
    (_name, call) =>
      async (...args) =>
        there(await call(...args.map(back))),
  )
}

/** A digest without what names are joined into, and without hashes that cover them. */
async function inert(
  scenario: Scenario,
  sources: Sources,
  payload: string | null,
): Promise<{ view: string; summary: string; shown: string }> {
  const incident = payload === null ? scenario.incident : { ...scenario.incident, title: payload, device: payload, devices: [payload] }
  const investigation = await look(scenario, sources, incident)
  const answer = await passGate(report(investigation), { investigation, sources, author: { kind: 'local' }, config })
  assert.ok(answer.status === 'passed', JSON.stringify(answer))
  const { headline, sections, names, evidence, ...summary } = answer.summary
  assert.deepEqual(Object.keys(names), ['devices', 'metrics'])
  return {
    view: JSON.stringify(modelView(investigation)),
    summary: JSON.stringify([summary, Object.keys(evidence)]),
    shown: JSON.stringify([headline, sections]),
  }
}

describe('text that a device controls', () => {
  test('is in nothing that a model sees, and changes nothing but the names that people see', async (t) => {
    let runs = 0
    const triedAlone = new Set<Field>()
    // A metric of the power supply is known by its name: that is what it says, so such an incident is left out.
    for (const [number, { scenario, sources, investigation }] of [cases[0], cases[2]].entries() as ArrayIterator<
      [number, (typeof cases)[number]]
    >) {
      const metric = investigation.names.metrics.M1?.metric ?? null
      const benign = await inert(scenario, sources, null)
      for (const [index, payload] of PAYLOADS.entries()) {
        if (number > 0 && index % 10 > 0) continue
        // All fields at once with each text, and one alone, each in turn; every field alone with every text where that is asked for.
        const alone = EACH_FIELD ? FIELDS : [FIELDS[(number === 0 ? index : index / 10) % FIELDS.length] as Field]
        for (const fields of [FIELDS, ...alone.map((field) => [field])]) {
          const twin = await inert(scenario, tainting(sources, scenario, metric, fields, payload), payload)
          assert.equal(twin.view, benign.view, `the view differs with ${payload} in ${fields.join()}`)
          assert.equal(twin.summary, benign.summary, `the digest differs with ${payload} in ${fields.join()}`)
          assert.ok(
            !twin.view.includes('canary') &&
              !/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069\u{e0000}-\u{e007f}]/u.test(
                twin.shown.replaceAll('\\n', ''),
              ),
          )
          runs++
          if (fields.length === 1) triedAlone.add(fields[0] as Field)
        }
      }
    }
    t.diagnostic(`${PAYLOADS.length} texts in ${FIELDS.length} fields, ${runs} digests compared with their benign twins`)
    assert.ok(PAYLOADS.length >= 200)
    assert.deepEqual([...triedAlone].toSorted(), [...FIELDS].toSorted())
  })

  test('is everything that the stores hand out as text, but for words and ids of ours', async () => {
    const texts = new Map<string, Set<string>>()
    const note = (path: string, value: unknown): void => {
      if (typeof value === 'string') texts.set(path, (texts.get(path) ?? new Set()).add(value))
      else if (Array.isArray(value)) for (const one of value) note(`${path}[]`, one)
      else if (typeof value === 'object' && value !== null)
        for (const [name, one] of Object.entries(value))
          note(`${path}.${path.endsWith('values') || path.endsWith('labels') ? '*' : name}`, one)
    }
    for (const { scenario } of cases) {
      const listening = around(world.sources, (name, call) => async (...args) => {
        const answer = await call(...args)
        note(name, answer)
        return answer
      })
      await look(scenario, listening)
    }
    const unknown = [...texts].filter(
      ([path]) => !OURS.some((pattern) => pattern.test(path)) && !CHANGED.some((pattern) => pattern.test(path)),
    )
    assert.deepEqual(
      unknown.map(([path, values]) => `${path}: ${[...values].slice(0, 3).join(', ')}`),
      [],
      'each is changed by the test above, or is a word or an id of ours',
    )
    assert.ok(texts.size > 15, 'it was listened to')
  })

  test('is not in what a model sees when a store fails with it', async () => {
    const { scenario } = cases[0] as (typeof cases)[number]
    for (const name of [
      'readings',
      'device',
      'metric',
      'peers',
      'changes',
      'findings',
      'maintenance',
      'ledger',
      'past',
      'anomaly',
    ] as const) {
      const views = new Set<string>()
      for (const text of ['benign', ...PAYLOADS.slice(0, 3)]) {
        const failing = around(world.sources, (called, call) =>
          called === name ? () => Promise.reject(new EnvironmentError('STORE_UNAVAILABLE', `${text}-canary`, { retryable: true })) : call,
        )
        const view = JSON.stringify(modelView(await look(scenario, failing)))
        assert.ok(!view.includes('canary'))
        views.add(view)
      }
      assert.equal(views.size, 1, `the words of an error of ${name} change what a model sees`)
    }
  })
})

/** Texts that the test of benign twins changes, by where they stand. */
const CHANGED = [
  /\.device$/,
  /\.devices\[\]$/,
  /\.metric$/,
  /\.unit$/,
  /\.site$/,
  /\.title$/,
  /\.text$/,
  /\.labels\.\*$/,
  /\.boot$/,
  /\.values\.\*$/,
  /\.part$/,
  /\.note$/,
  /\.correlationId$/,
  /\.fingerprint$/,
]
/** Ids that we give, the type that an operator gave the device, and words of closed lists. */
const OURS = [
  /\._?id$/,
  /\.tenant$/,
  /\.type$/,
  /\.(?:first|last)AnomalyId$/,
  /^(?:alerts\.items\[\]|anomaly)\.(?:cause|severity|state|phase|incident\.level|explanation\.detector)$/,
  /^(?:device|peers\.items\[\])\.state$/,
  /^changes\.items\[\]\.kind$/,
  /^findings\.items\[\]\.fact$/,
]
