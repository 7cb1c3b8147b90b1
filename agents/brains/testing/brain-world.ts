import type { TestContext } from 'node:test'
import { silentLogger, type Logger } from '../../../kernel/log.ts'
import { Metrics } from '../../../kernel/metrics.ts'
import { seededRandom } from '../../../kernel/random.ts'
import { compileSchema } from '../../../kernel/schema.ts'
import { systemClock, type Clock } from '../../../kernel/time.ts'
import type { Documents } from '../../../storage/documents/documents.ts'
import { checkDraft, DraftSchema, type Draft } from '../../summary/draft.ts'
import type { BrainOutcome, BrainTask, ProviderKind } from '../brain.ts'
import { Brains } from '../brains.ts'
import { BrainsConfigSchema, type BrainsConfig } from '../config.ts'
import { WireServer } from './wire-server.ts'

/** Where each provider's path begins. */
const BASE: Readonly<Record<ProviderKind, string>> = {
  ...{ claude: '', gemini: '', perplexity: '', chatgpt: '/v1', grok: '/v1', compatible: '/v1' },
}
/** Looks like no key of anybody's. */
export const TEST_KEY = 'key-of-the-test'

/** The default settings, with some changed. */
export function brainsConfig(changes: Record<string, unknown> = {}): BrainsConfig {
  const checked = compileSchema(BrainsConfigSchema)(structuredClone({ retryInitialMs: 1, retryMaxMs: 5, ...changes }))
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

export const TASK: BrainTask<Draft> = {
  ...{
    tenant: 'default',
    conversation: 'inc-1',
    correlationId: 'c-1',
    parentSpanId: '0123456789abcdef',
    agent: 'agent:reporter',
    purpose: 'summarise',
    words: [],
  },
  view: {
    incident: { cause: 'value', level: 'device', severity: 'critical' },
    devices: ['D1'],
    metrics: ['M1'],
    claims: [{ id: 'c1', op: 'peak', device: 'D1', metric: 'M1', value: 9.31, unit: 'metric', evidence: ['E1'], required: true }],
    evidence: [{ handle: 'E1', kind: 'deviation', status: 'success' }],
    causes: [{ code: 'sensor_fault.drift', level: 'LIKELY', evidence: ['E1'] }],
    runbooks: ['RB-001'],
  },
  reply: { schema: DraftSchema, check: checkDraft },
}

export interface BrainWorld {
  server: WireServer
  brains: Brains
  metrics: Metrics
  think: (changes?: { timeoutMs?: number; signal?: AbortSignal; task?: Partial<BrainTask<Draft>> }) => Promise<BrainOutcome<Draft>>
}

/** How long a timer of so many milliseconds takes here and now: the measure of what may not take longer, however busy the machine is. */
export function timerOf(ms: number): Promise<number> {
  const startMs = systemClock.monotonicMs()
  return new Promise((resolve) => systemClock.after(ms, () => resolve(systemClock.monotonicMs() - startMs)))
}

let resets = 0

/** One model on this machine and the brain that asks it. Each has a standing of its own, whatever else is in the store. */
export async function brainWorld(
  t: TestContext,
  options: { kind: ProviderKind; documents: Documents; clock?: Clock; log?: Logger; server?: WireServer; config?: Record<string, unknown> },
): Promise<BrainWorld> {
  const { kind, documents, clock = systemClock, log = silentLogger } = options
  const server = options.server ?? (await WireServer.start(t, kind, clock))
  const provider = { apiKey: TEST_KEY, baseUrl: server.origin + BASE[kind], model: 'model-1' }
  const config = brainsConfig({
    brain: kind,
    [kind]: provider,
    reset: ++resets,
    requestsPerMinute: 100_000,
    tokensPerMinute: 100_000_000,
    ...options.config,
  })
  const metrics = new Metrics()
  const brains = new Brains({ documents, clock, random: seededRandom(1), log, metrics, config })
  await brains.start()
  t.after(() => brains.stop())
  return {
    ...{ server, brains, metrics },
    think: ({ timeoutMs = 10_000, signal = new AbortController().signal, task = {} } = {}) => {
      const brain = brains.configured
      if (brain === null) throw new TypeError('no model is configured')
      return brain.think({ ...TASK, ...task }, { timeoutMs, signal })
    },
  }
}

/** What of a metric is above 0, by its labels. */
export async function samplesOf(metrics: Metrics, name: string): Promise<Record<string, number>> {
  const family = (await metrics.families()).find((each) => each.name === `fleetpulse_${name}`)
  return Object.fromEntries(
    (family?.values ?? []).filter(({ value }) => value > 0).map(({ labels, value }) => [Object.values(labels).join(' '), value]),
  )
}
