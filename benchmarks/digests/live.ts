import type { Brain, BrainFailure, BrainOutcome, BrainTask, ThinkOptions } from '../../agents/brains/brain.ts'
import { Brains } from '../../agents/brains/brains.ts'
import { investigate } from '../../agents/summary/investigate.ts'
import { reword } from '../../agents/team/rewording.ts'
import type { Turn } from '../../agents/turns/speaker.ts'
import { CONFIG_FILE, loadConfig } from '../../app/config.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { systemRandom } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'
import { FAMILIES, goldenScenarios, tellScenario, type Scenario } from '../../test/testing/digest-scenarios.ts'
import { blind } from '../../test/testing/digest-sources.ts'
import { DigestWorld, evidenceConfig } from '../../test/testing/digest-world.ts'
import { report, rounded } from '../harness/figures.ts'

const BENCH = 'digests'
/** After these every further request would fail as well. */
const FINAL: ReadonlySet<BrainFailure> = new Set(['unauthorised', 'quota', 'budget-exhausted', 'circuit-open'])

export interface LiveOptions {
  /** How often each scenario is worded. */
  iterations: number
  /** Of the golden scenarios only those; empty: all. */
  families: readonly string[]
}

/**
 * How a model that is configured as for the platform words the golden scenarios: what of it verifies, what it costs, how long it takes. It is
 * for people who decide whether to let a model word digests, so it fails for no result. Without a model it says so and does nothing.
 * Throws InvalidInputError, ConfigError.
 */
export async function live({ iterations, families }: LiveOptions): Promise<void> {
  if (!Number.isInteger(iterations) || iterations < 1) throw new InvalidInputError('--iterations takes a whole number from 1')
  const unknown = families.filter((family) => !FAMILIES.some((each) => each === family))
  if (unknown.length > 0) throw new InvalidInputError(`--families: there is no ${unknown.join(', ')}; there are ${FAMILIES.join(', ')}`)
  const { brains: config } = loadConfig({ env: process.env, file: CONFIG_FILE })
  const { brain: provider } = config
  if (provider === 'local') {
    process.stderr.write(
      'no model is configured, so none was asked: set FLEETPULSE_AGENTS_BRAIN and the FLEETPULSE_BRAINS_… of a provider\n',
    )
    return
  }
  const world = await DigestWorld.open()
  const metrics = new Metrics()
  const common = { documents: world.documents, clock: systemClock, random: systemRandom, log: silentLogger, metrics }
  const brains = new Brains({ ...common, config })
  try {
    await brains.start()
    const brain = brains.configured
    if (brain === null) throw new TypeError('a model that is configured has settings')
    const wanted = goldenScenarios().filter(({ family }) => families.length === 0 || families.includes(family))
    const scenarios = await Promise.all(wanted.map(({ family, seed }) => tellScenario(world, family, seed)))
    await world.settle()
    const patient = new PatientBrain(brain)
    const results = await wordAll(world, patient, scenarios, iterations)
    tell({ ...results, model: config[provider].model, provider, iterations, tookMs: patient.tookMs }, await tokensOf(metrics))
  } finally {
    await brains.stop()
    await world.close()
  }
}

interface Results {
  asked: number
  verified: number
  /** Scenarios that verified each time. */
  always: number
  scenarios: number
  /** Why not, and how often. */
  reasons: Record<string, number>
}

async function wordAll(world: DigestWorld, brain: PatientBrain, scenarios: readonly Scenario[], iterations: number): Promise<Results> {
  const results: Results = { asked: 0, verified: 0, always: 0, scenarios: scenarios.length, reasons: {} }
  let isOver = false
  const fellBack = (_from: string, reason: string): void => {
    results.reasons[reason] = (results.reasons[reason] ?? 0) + 1
    isOver = FINAL.has(reason as BrainFailure)
  }
  for (const scenario of scenarios) {
    let verified = 0
    for (let i = 0; i < iterations && !isOver; i++) {
      results.asked++
      if (await word(world, scenario, { configured: brain, fellBack })) verified++
    }
    results.verified += verified
    if (verified === iterations) results.always++
  }
  return results
}

async function word(
  world: DigestWorld,
  scenario: Scenario,
  models: { configured: Brain; fellBack: (from: string, reason: string) => void },
): Promise<boolean> {
  const { clock } = world
  const config = evidenceConfig()
  const { signal } = new AbortController()
  const sources = scenario.family === 'blind' ? blind(world.sources) : world.sources
  clock.set(scenario.asOf)
  const investigation = await investigate(scenario.incident, sources, clock, signal, { config, log: silentLogger })
  const { tenant, id, correlationId } = scenario.incident
  const conversation = { tenant, id, correlationId, site: '', turns: 0 } as Turn['conversation']
  const turn: Turn = { conversation, agent: 'reporter', participant: 'agent:reporter', epoch: 1, question: null, signal, log: silentLogger }
  return (await reword(turn, investigation, { models, sources, config, clock, judged: () => undefined })) !== null
}

/** Waits where our own limits of a minute say so, and measures what was answered. */
class PatientBrain implements Brain {
  readonly tookMs: number[] = []
  readonly #brain: Brain

  constructor(brain: Brain) {
    this.#brain = brain
  }

  get kind() {
    return this.#brain.kind
  }

  async think<R>(task: BrainTask<R>, options: ThinkOptions): Promise<BrainOutcome<R>> {
    for (;;) {
      const begunMs = systemClock.monotonicMs()
      const outcome = await this.#brain.think(task, options)
      if (outcome.status === 'replied') this.tookMs.push(systemClock.monotonicMs() - begunMs)
      if (outcome.status === 'replied' || outcome.failure !== 'rate-limited' || outcome.retryAfterMs === null) return outcome
      process.stderr.write(`waiting ${Math.ceil(outcome.retryAfterMs / 1_000)} s: ${outcome.detail}\n`)
      await sleep(systemClock, outcome.retryAfterMs, options.signal)
    }
  }
}

/** As the provider counted them, of requests in vain too. */
async function tokensOf(metrics: Metrics): Promise<Record<'input' | 'output', number>> {
  const values = (await metrics.families()).find(({ name }) => name === 'fleetpulse_ai_tokens_total')?.values ?? []
  const sum = (type: string): number => values.filter(({ labels }) => labels.type === type).reduce((total, { value }) => total + value, 0)
  return { input: sum('input'), output: sum('output') }
}

type Outcome = Results & { model: string; provider: string; iterations: number; tookMs: number[] }

function tell(
  { asked, verified, always, scenarios, reasons, model, provider, iterations, tookMs }: Outcome,
  tokens: Record<'input' | 'output', number>,
): void {
  const common = { bench: BENCH, provider, model, scenarios, iterations, asked }
  const sorted = tookMs.toSorted((a, b) => a - b)
  const at = (share: number): number | null =>
    sorted.length === 0 ? null : rounded(sorted[Math.floor(share * (sorted.length - 1))] as number)
  const share = asked === 0 ? null : rounded(verified / asked, 3)
  const each = asked === 0 ? null : rounded((tokens.input + tokens.output) / asked, 0)
  report({
    ...common,
    figure: 'live model, digests that verified',
    value: share,
    unit: 'share',
    verified,
    scenariosAlways: always,
    not: reasons,
  })
  report({ ...common, figure: 'live model, tokens a digest', value: each, unit: 'tokens', ...tokens })
  report({ ...common, figure: 'live model, reply, p50', value: at(0.5), unit: 'ms', p99: at(0.99) })
}
