import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { CHECK_NAMES } from '../../agents/checks/check.ts'
import type { EvidenceConfig } from '../../agents/evidence/config.ts'
import { ToolSpans } from '../../agents/evidence/tool-spans.ts'
import { EvidenceStore } from '../../agents/evidence/evidence-store.ts'
import type { Sources } from '../../agents/evidence/sources.ts'
import { passGate } from '../../agents/summary/gate.ts'
import { investigate } from '../../agents/summary/investigate.ts'
import type { GapCode, Investigation } from '../../agents/summary/investigation.ts'
import { report } from '../../agents/summary/report.ts'
import type { Summary } from '../../agents/summary/summary.ts'
import { SummaryStore } from '../../agents/summary/summary-store.ts'
import { ConflictError, InvalidInputError, NotFoundError, TimeoutError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import type { Span } from '../../kernel/spans.ts'
import { systemClock } from '../../kernel/time.ts'
import { tellScenario, type Scenario } from '../testing/digest-scenarios.ts'
import { around, remembering, without } from '../testing/digest-sources.ts'
import { DigestWorld, evidenceConfig } from '../testing/digest-world.ts'

let world: DigestWorld
let shift: Scenario
let silence: Scenario
let storm: Scenario
let stored: Sources

before(async () => {
  world = await DigestWorld.open()
  const [one, two, three] = await Promise.all([
    tellScenario(world, 'level-shift', 4),
    tellScenario(world, 'silence', 4),
    tellScenario(world, 'common-mode', 4),
  ])
  ;[shift, silence, storm] = [one, two, three]
  await world.settle()
  stored = remembering(world.sources)
})
after(() => world.close())

async function look(
  scenario: Scenario,
  sources: Sources,
  changes: Partial<EvidenceConfig> = {},
): Promise<{ investigation: Investigation; summary: Summary; text: string }> {
  const config = evidenceConfig(changes)
  world.clock.set(scenario.asOf)
  const investigation = await investigate(scenario.incident, sources, world.clock, new AbortController().signal, {
    config,
    log: silentLogger,
  })
  const answer = await passGate(report(investigation), { investigation, sources, author: { kind: 'local' }, config })
  assert.ok(answer.status === 'passed', JSON.stringify(answer))
  return { investigation, summary: answer.summary, text: JSON.stringify(answer.summary.sections.at(-1)) }
}
const admits = ({ gaps }: Summary, code: GapCode): boolean => gaps.some((gap) => gap.code === code)

describe('what could not be checked', () => {
  test('is said of each source that fails; the rest stands, and is no surer than it may be', async () => {
    for (const name of [
      'readings',
      'anomaly',
      'changes',
      'findings',
      'maintenance',
      'ledger',
      'peers',
      'past',
      'device',
      'progress',
    ] as const) {
      const { summary, text } = await look(shift, without(stored, name))
      assert.ok(admits(summary, 'check_failed'), name)
      assert.match(text, /could not be read/, name)
      assert.ok(summary.claims.length > 0, name)
      if (name === 'readings' || name === 'peers') assert.equal(summary.level, 'INCONCLUSIVE', name)
    }
  })

  test('is said of a source that hangs, within the bound', async () => {
    for (const name of ['readings', 'ledger', 'past'] as const) {
      const begun = systemClock.monotonicMs()
      // Only while it is investigated: what hangs for ever cannot be verified either.
      let hangs = true
      const hanging = around(stored, (called, call) => (called === name && hangs ? () => new Promise(() => undefined) : call))
      const config = evidenceConfig({ checkTimeoutMs: 60 })
      world.clock.set(shift.asOf)
      const investigation = await investigate(shift.incident, hanging, world.clock, new AbortController().signal, {
        config,
        log: silentLogger,
      })
      hangs = false
      assert.ok(
        investigation.gaps.some(({ code }) => code === 'check_timed_out' || code === 'check_failed'),
        name,
      )
      assert.ok(systemClock.monotonicMs() - begun < 5_000)
      const answer = await passGate(report(investigation), { investigation, sources: stored, author: { kind: 'local' }, config })
      assert.equal(answer.status, 'passed', name)
    }
  })

  test('is asked for no longer: readings that a look or its verifying gave up are given up by the store as well', async () => {
    const asked: AbortSignal[] = []
    const hanging = around(stored, (name, call) => (...args) => {
      const { signal } = (args[0] ?? {}) as { signal?: AbortSignal }
      if (name !== 'readings') return call(...args)
      assert.ok(signal !== undefined && !signal.aborted, 'whoever reads says how long it waits')
      asked.push(signal)
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(new TimeoutError('given up'))))
    })
    world.clock.set(shift.asOf)
    const unwanted = new AbortController().signal
    const config = evidenceConfig({ checkTimeoutMs: 60, verifyTimeoutMs: 60 })
    const blindly = await investigate(shift.incident, hanging, world.clock, unwanted, { config, log: silentLogger })
    assert.ok(asked.length > 0 && asked.every(({ aborted }) => aborted), 'of the look')
    assert.ok(blindly.gaps.some(({ code }) => code === 'check_timed_out' || code === 'check_failed'))
    const { investigation } = await look(shift, stored)
    const before = asked.length
    const options = { investigation, sources: hanging, author: { kind: 'local' } as const, config, clock: world.clock, signal: unwanted }
    const answer = await passGate(report(investigation), options)
    assert.equal(answer.status === 'refused' && answer.verdict.status, 'unavailable')
    assert.ok(asked.length > before && asked.every(({ aborted }) => aborted), 'of the verifier')
  })

  test('is said when a source answers, and has nothing', async () => {
    const checks = { readings: ['spike', 'level_shift', 'flatline'], peers: ['peers'] } as const
    for (const [name, expected] of Object.entries(checks)) {
      const empty = around(stored, (called, call) => async (...args) => {
        const answer = await call(...args)
        if (called !== name) return answer
        return Array.isArray(answer) ? [] : { ...(answer as object), items: [] }
      })
      const { summary, text } = await look(shift, empty)
      for (const check of expected) {
        assert.ok(
          summary.gaps.some((gap) => gap.code === 'check_no_data' && gap.check === check),
          `${name}: ${JSON.stringify(summary.gaps)}`,
        )
        assert.match(text, new RegExp(`Check ${check}: had nothing to look at`), name)
      }
      assert.notEqual(summary.level, 'CONFIRMED', name)
    }
    assert.ok(!admits((await look(shift, stored)).summary, 'check_no_data'), 'where there is something, it is not said')
  })

  test('is said when there was more than the bound', async () => {
    const few = await look(storm, stored, { alertsMax: 1 })
    assert.ok(admits(few.summary, 'truncated'))
    const cut = await look(
      shift,
      around(stored, (name, call) => async (...args) => {
        const answer = await call(...args)
        return name === 'readings' ? { ...(answer as object), truncated: true } : answer
      }),
    )
    assert.ok(admits(cut.summary, 'truncated'))
    assert.notEqual(cut.summary.level, 'CONFIRMED')
    assert.match(cut.text, /in part/)
  })

  test('is said when data came late, or had not come yet', async () => {
    const late = around(stored, (name, call) => async (...args) => {
      const answer = await call(...args)
      if (name !== 'ledger') return answer
      return (answer as { late: number }[]).map((hour) => ({ ...hour, late: 7 }))
    })
    assert.ok(admits((await look(shift, late)).summary, 'late_data'))
    // Some readings took minutes.
    const slow = around(stored, (name, call) => async (...args) => {
      const answer = (await call(...args)) as { items: { ts: number; receivedAt: number }[] }
      if (name !== 'readings') return answer
      const items = answer.items.map((row) =>
        row.ts >= shift.asOf - 60_000 && row.ts % 3 === 0 ? { ...row, receivedAt: row.receivedAt + 120_000 } : row,
      )
      return { ...answer, items }
    })
    const { summary } = await look({ ...shift, asOf: shift.asOf + 130_000 }, slow)
    assert.ok(admits(summary, 'late_data') && summary.claims.some(({ op, value }) => op === 'late_readings' && value > 0))
    const behind = around(stored, (name, call) => async (...args) => {
      const answer = await call(...args)
      return name === 'progress'
        ? { stored: [{ partition: 0, nextOffset: 0 }] }
        : name === 'anomaly'
          ? { ...(answer as object), partition: 0, offset: 9 }
          : answer
    })
    assert.ok(admits((await look(shift, behind)).summary, 'store_behind'))
  })

  test('leaves the digest unpublished when the figures cannot be verified', async () => {
    const { investigation } = await look(shift, stored)
    const config = evidenceConfig()
    const answer = await passGate(report(investigation), {
      investigation,
      sources: without(stored, 'readings'),
      author: { kind: 'local' },
      config,
    })
    assert.ok(answer.status === 'refused' && answer.verdict.status === 'unavailable')
    const hanging = around(stored, (name, call) => (name === 'readings' ? () => new Promise(() => undefined) : call))
    const bounded = {
      investigation,
      sources: hanging,
      author: { kind: 'local' } as const,
      config: evidenceConfig({ verifyTimeoutMs: 50 }),
      clock: systemClock,
    }
    const late = await passGate(report(investigation), bounded)
    assert.ok(late.status === 'refused' && late.verdict.status === 'unavailable')
  })

  test('what goes on while it is looked at and verified makes no digest false', async () => {
    for (const scenario of [shift, silence, storm]) {
      const config = evidenceConfig()
      world.clock.set(scenario.asOf)
      const investigation = await investigate(scenario.incident, stored, world.clock, new AbortController().signal, {
        config,
        log: silentLogger,
      })
      const goesOn = around(stored, (name, call) => async (...args) => {
        const answer = await call(...args)
        const { asOf } = scenario
        if (name === 'ledger')
          return (answer as { version: number; stored: number }[]).map((hour) => ({
            ...hour,
            version: hour.version + 1,
            stored: hour.stored + 9,
          }))
        if (name !== 'readings' && name !== 'alerts') return answer
        const { items, ...rest } = answer as { items: object[] }
        const { toTs = Infinity, limit } = args[0] as { toTs?: number; limit: number }
        if (name === 'alerts') return { ...rest, items: [...items, { ...items[0], id: 'zzz', device: 'another', openedAt: asOf - 1 }] }
        // Two that were sent before the watermark and received after it, then one of later.
        const newer = [asOf + 5, asOf - 1, asOf - 2].filter((ts) => ts < toTs).map((ts) => ({ ...items[0], ts, receivedAt: asOf + 40 }))
        return { ...rest, items: [...newer, ...items].slice(0, limit) }
      })
      const answer = await passGate(report(investigation), { investigation, sources: goesOn, author: { kind: 'local' }, config })
      assert.equal(answer.status, 'passed', `${scenario.tenant}: ${JSON.stringify(answer).slice(0, 500)}`)
    }
  })

  test('counts only what was received by then: readings that come afterwards change nothing', async () => {
    const early = { ...shift, asOf: shift.asOf - 120_000 }
    const [one, two] = [await look(early, stored), await look(shift, stored)]
    assert.notEqual(one.investigation.evidenceHash, two.investigation.evidenceHash)
    assert.ok(one.summary.claims.some(({ op }) => op === 'onset'))
  })
})

describe('what is looked at', () => {
  test('is a span of each check and each question, below the turn; what failed says so, and no name stands in any', async () => {
    const spans: Span[] = []
    const sink = { isOpen: true, take: (span: Span) => void spans.push(span) }
    const of = { clock: systemClock, log: silentLogger, correlationId: 'c-1', conversation: 'i-1', agent: 'diagnostics' }
    const tools = ToolSpans.below('0123456789abcdef', { ...of, sink })
    world.clock.set(shift.asOf)
    const config = evidenceConfig()
    const signal = new AbortController().signal
    const sources = without(stored, 'changes')
    const investigation = await investigate(shift.incident, sources, world.clock, signal, { config, log: silentLogger, tools })
    await passGate(report(investigation), { investigation, sources, author: { kind: 'local' }, config, tools })
    const named = (prefix: string): Span[] => spans.filter(({ name }) => name.startsWith(`execute_tool ${prefix}`))
    assert.deepEqual(
      named('check_')
        .map(({ name }) => name.slice('execute_tool check_'.length))
        .sort(),
      [...CHECK_NAMES].sort(),
    )
    const byId = new Map(spans.map((span) => [span.spanId, span]))
    assert.equal(byId.size, spans.length, 'no two have one id')
    for (const { parentSpanId = '' } of spans) assert.ok(parentSpanId === '0123456789abcdef' || byId.has(parentSpanId))
    for (const { parentSpanId } of named('check_').concat(named('verify_'))) assert.equal(parentSpanId, '0123456789abcdef')
    const asked = new Set(named('read_').map(({ attributes }) => attributes['evidence.id']))
    for (const { id } of Object.values(investigation.evidence)) assert.ok(asked.has(id), `${id} has a span`)
    const failed = spans.filter(({ attributes }) => 'error.type' in attributes).map(({ name }) => name)
    assert.deepEqual(failed.sort(), ['execute_tool check_changes', 'execute_tool read_registry_fact'])
    assert.deepEqual(
      named('verify_').map(({ attributes }) => [attributes['gen_ai.operation.name'], attributes['verifier.status']]),
      [['execute_tool', 'verified']],
    )
    assert.ok(!JSON.stringify(spans).includes(shift.incident.device ?? '?'))
    const closed = ToolSpans.below('0123456789abcdef', { ...of, sink: { isOpen: false, take: () => assert.fail('nobody looks') } })
    assert.equal(
      await closed.run(
        'function',
        'none',
        async () => 7,
        () => assert.fail('nobody looks'),
      ),
      7,
    )
  })
})

describe('digests that were published', () => {
  const config = evidenceConfig()

  test('are found again by their features, with what people said of them', async () => {
    const summaries = new SummaryStore({ documents: world.documents, clock: world.clock })
    await summaries.start()
    const { summary } = await look(shift, stored)
    // The same trouble twice before, and another one.
    const before_ = (incident: string, of: Summary, openedAt: number): Promise<unknown> => {
      world.clock.set(openedAt + 1_000)
      return summaries.publish({ ...of, tenant: shift.tenant, incident }, 1, openedAt)
    }
    const other = (await look(silence, stored)).summary
    await before_('inc-old', summary, shift.incident.openedAt - 9_000_000)
    await before_('inc-older', summary, shift.incident.openedAt - 99_000_000)
    await before_('inc-other', other, shift.incident.openedAt - 5_000_000)
    await summaries.rate(shift.tenant, 'inc-old', 1, { stars: 5, verdict: 'right', note: '', by: 'user:ana' })
    const { summary: seen, investigation } = await look(shift, world.sources)
    assert.deepEqual(
      seen.history.similar.map(({ incident }) => incident),
      ['inc-old', 'inc-older'],
    )
    assert.equal(seen.history.compared, 3)
    assert.equal(investigation.claims.find(({ op }) => op === 'similar')?.value, 2)
    assert.match(JSON.stringify(seen.sections), /inc-old of .*rated 5 of 5, right/)
    assert.ok(config.similarFrom > 0.5)
  })

  test('are kept by revision: published once, superseded, rated, and rated anew', async () => {
    const summaries = new SummaryStore({ documents: world.documents, clock: world.clock })
    await summaries.start()
    const { summary } = await look(silence, stored)
    const { tenant, incident } = summary
    await assert.rejects(summaries.publish(summary, 2, 1), ConflictError)
    assert.equal(await summaries.publish(summary, 1, 1), 'published')
    assert.equal(await summaries.publish(summary, 1, 1), 'exists')
    await summaries.rate(tenant, incident, 1, { stars: 2, verdict: 'partly', note: 'n', by: 'user:ana' })
    assert.equal(await summaries.publish(summary, 2, 1), 'published')
    assert.deepEqual(
      [(await summaries.get(tenant, incident, 1))?.status, (await summaries.newest(tenant, incident))?.rating],
      ['superseded', null],
    )
    assert.equal(await summaries.get('others', incident, 1), null)
    await assert.rejects(summaries.rate(tenant, incident, 9, { stars: 2, verdict: 'partly', note: '', by: 'x' }), NotFoundError)
    await assert.rejects(summaries.rate(tenant, incident, 2, { stars: 6, verdict: 'partly', note: '', by: 'x' }), InvalidInputError)
  })

  test('keep their evidence as it was', async () => {
    const kept = new EvidenceStore({ documents: world.documents, clock: world.clock })
    await kept.start()
    const { investigation } = await look(silence, stored)
    const evidence = Object.values(investigation.evidence)
    const { tenant, id } = investigation.incident
    await kept.keep(tenant, id, evidence)
    await kept.keep(tenant, id, evidence)
    for (const one of evidence) assert.deepEqual(await kept.get(tenant, one.id), one)
    const [first] = evidence
    assert.ok(first !== undefined)
    assert.equal(await kept.get('others', first.id), null)
    await assert.rejects(kept.keep(tenant, id, [{ ...first, result: { score: 1 } }]), ConflictError)
  })
})
