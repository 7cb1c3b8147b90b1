import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Random } from '../../kernel/random.ts'
import type { Service } from '../../kernel/service.ts'
import type { SpanSink } from '../../kernel/spans.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { Allowances } from './allowance.ts'
import { PROVIDER_KINDS, type Brain, type BrainFailure, type BrainKind, type ProviderKind } from './brain.ts'
import { BrainMetrics } from './brain-metrics.ts'
import { providerFault, type BrainsConfig } from './config.ts'
import { ProviderBrain } from './provider-brain.ts'
import { Standing } from './standing.ts'
import type { Wire, WireRequest, ModelAnswer } from './wire.ts'
import type { WireOptions } from './langchain-wire.ts'

/** Bytes that a request has besides its prompt, in which quotes and line ends take two: the schema and a few settings. */
const REQUEST_EXTRA_BYTES = 65_536

export interface BrainsOptions {
  documents: Documents
  clock: Clock
  random: Random
  log: Logger
  metrics: Metrics
  config: BrainsConfig
  /** Where the spans of requests go besides the log. */
  spans?: SpanSink
}

/** The models that this process may ask, by kind. With none configured there is nothing here, and nothing is loaded or connected to. */
export class Brains implements Service {
  readonly name = 'brains'
  readonly #options: BrainsOptions
  readonly #metrics: BrainMetrics
  readonly #brains = new Map<ProviderKind, ProviderBrain>()
  readonly #standings = new Map<ProviderKind, Standing>()

  constructor(options: BrainsOptions) {
    this.#options = options
    this.#metrics = new BrainMetrics(options.metrics)
  }

  async start(): Promise<void> {
    const { config, documents, clock } = this.#options
    const allowances = new Allowances({ documents, clock, limits: config })
    for (const kind of PROVIDER_KINDS) {
      if (this.#brains.has(kind) || !this.#isConfigured(kind)) continue
      const settings = { ...config[kind], reset: config.reset }
      const standing = new Standing({ documents, clock, kind, settings, refreshMs: config.standingRefreshMs })
      const wire = new LazyWire({
        ...config,
        ...config[kind],
        kind,
        requestBytesMax: 2 * config.promptBytesMax + REQUEST_EXTRA_BYTES,
        clock,
      })
      this.#standings.set(kind, standing)
      this.#brains.set(kind, new ProviderBrain({ ...this.#options, kind, wire, allowances, standing, metrics: this.#metrics }))
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#brains.values()].map((brain) => brain.close()))
    this.#brains.clear()
    this.#standings.clear()
  }

  /** What a model may be asked for in a storm. */
  get storm(): { incidentsMax: number; windowMs: number } {
    const { stormIncidentsMax: incidentsMax, stormWindowMs: windowMs } = this.#options.config
    return { incidentsMax, windowMs }
  }

  /** Who words what the configuration leaves to a model; null: the local brain alone. */
  get configured(): Brain | null {
    return this.of(this.#options.config.brain)
  }

  /** A brain by its kind; null: it is the local one, or it has no settings, and the local words stand. */
  of(kind: BrainKind): Brain | null {
    return kind === 'local' ? null : (this.#brains.get(kind) ?? null)
  }

  /** That the local words stood, and why. `unverified`: a reply did not pass the gate. */
  fellBack(from: BrainKind, reason: BrainFailure | 'unverified' | 'storm'): void {
    this.#metrics.fellBack(from, 'local', reason)
    this.#options.log.warn({ event: 'fallback', from, to: 'local', reason }, 'a model brought nothing to publish; the local words stand')
  }

  /** Which models take nothing from us until somebody changes their settings, by name, for the platform's health. */
  async troubles(): Promise<Record<string, string>> {
    const troubles: Record<string, string> = {}
    for (const [kind, standing] of this.#standings) {
      const off = await standing.off()
      if (off !== null) troubles[`brain ${kind}`] = `${off.failure} (${off.detail}): it is not asked until its settings change`
    }
    return troubles
  }

  /** One that is named, or that has a key: agents may have brains of their own. */
  #isConfigured(kind: ProviderKind): boolean {
    const { config } = this.#options
    return (kind === config.brain || config[kind].apiKey !== '') && providerFault(kind, config) === null
  }
}

/** The libraries are loaded with the first request: who asks no model pays nothing for them. */
class LazyWire implements Wire {
  readonly #options: WireOptions
  #wire: Promise<Wire> | undefined

  constructor(options: WireOptions) {
    this.#options = options
  }

  async ask(request: WireRequest): Promise<ModelAnswer> {
    this.#wire ??= import('./langchain-wire.ts').then(({ LangChainWire }) => new LangChainWire(this.#options))
    return (await this.#wire).ask(request)
  }

  async close(): Promise<void> {
    await (await this.#wire)?.close()
    this.#wire = undefined
  }
}
