import { parseArgs } from 'node:util'
import { passGate } from '../agents/summary/gate.ts'
import { investigate } from '../agents/summary/investigate.ts'
import { report as reportOf } from '../agents/summary/report.ts'
import { silentLogger } from '../kernel/log.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { tellScenario, type Family } from '../test/testing/digest-scenarios.ts'
import { DigestWorld, evidenceConfig } from '../test/testing/digest-world.ts'
import { live } from './digests/live.ts'
import { report, rounded } from './harness/figures.ts'

/*
 * How long a local digest takes from the incident to what may be published: investigate, report, verify against the stores, without
 * remembering anything between digests, while the same store takes in readings of other devices. Options: --digests 200, --rate 10000.
 * With --live a model that is configured words the golden scenarios instead (live.ts): --iterations 1, --families level-shift,silence (all).
 */

const BENCH = 'digests'
const P99_MAX_MS = 1_000
const BATCH_MS = 100
const FAMILIES: readonly Family[] = ['spike', 'level-shift', 'drift', 'silence', 'power', 'common-mode', 'firmware', 'healthy']

const { values: options } = parseArgs({
  options: {
    digests: { type: 'string', default: '200' },
    rate: { type: 'string', default: '10000' },
    live: { type: 'boolean', default: false },
    iterations: { type: 'string', default: '1' },
    families: { type: 'string', default: '' },
  },
})

if (options.live) {
  const families = options.families.split(',').filter((family) => family !== '')
  await live({ iterations: Number(options.iterations), families })
} else await local(Number(options.digests), Number(options.rate))

async function local(digests: number, readingsPerSecond: number): Promise<void> {
  const world = await DigestWorld.open()
  const config = evidenceConfig()
  const scenarios = await Promise.all(FAMILIES.flatMap((family) => [1, 2, 3].map((seed) => tellScenario(world, family, seed))))
  await world.settle()

  const done = new AbortController()
  const writing = keepWriting(world, readingsPerSecond, done.signal)
  const tookMs: number[] = []
  const gateMs: number[] = []
  for (let i = 0; i < digests; i++) {
    const scenario = scenarios[i % scenarios.length] as (typeof scenarios)[number]
    world.clock.set(scenario.asOf)
    const begunMs = systemClock.monotonicMs()
    const { sources } = world
    const investigation = await investigate(scenario.incident, sources, world.clock, done.signal, { config, log: silentLogger })
    const draft = reportOf(investigation)
    const lookedMs = systemClock.monotonicMs()
    const answer = await passGate(draft, { investigation, sources, author: { kind: 'local' }, config })
    if (answer.status !== 'passed') throw new Error(`${scenario.tenant} did not pass: ${JSON.stringify(answer)}`)
    const endedMs = systemClock.monotonicMs()
    tookMs.push(endedMs - begunMs)
    gateMs.push(endedMs - lookedMs)
  }
  done.abort()
  const written = await writing
  await world.close()

  const at = (values: readonly number[], share: number): number =>
    rounded(values.toSorted((a, b) => a - b)[Math.floor(share * (values.length - 1))] as number)
  const rate = rounded(written.rows / (written.ms / 1_000), 0)
  report({
    bench: BENCH,
    figure: 'incident to verified digest, p99',
    value: at(tookMs, 0.99),
    unit: 'ms',
    p50: at(tookMs, 0.5),
    digests: tookMs.length,
    readingsPerSecond: rate,
    wanted: P99_MAX_MS,
  })
  report({ bench: BENCH, figure: 'of it verifying, p99', value: at(gateMs, 0.99), unit: 'ms', p50: at(gateMs, 0.5) })
}

/** Readings of other devices, in the batches in which the road writes them. */
async function keepWriting(world: DigestWorld, perSecond: number, signal: AbortSignal): Promise<{ rows: number; ms: number }> {
  const begunMs = systemClock.monotonicMs()
  let rows = 0
  while (!signal.aborted && perSecond > 0) {
    const due = Math.floor(((systemClock.monotonicMs() - begunMs) * perSecond) / 1_000) - rows
    rows += await world.write(due)
    await sleep(systemClock, BATCH_MS, signal)
  }
  return { rows, ms: systemClock.monotonicMs() - begunMs }
}
