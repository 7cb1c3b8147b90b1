import { ANOMALY, type Anomaly } from '../contracts/anomaly.ts'
import { DEFAULT_TENANT } from '../contracts/device.ts'
import { spanOf } from '../contracts/evidence.ts'
import type { PlatformTrouble } from '../contracts/platform-trouble.ts'
import { deviceKey, TOPICS } from '../contracts/topics.ts'
import { describeError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import type { Service } from '../kernel/service.ts'
import { every, type Clock, type Timer } from '../kernel/time.ts'
import type { EventLog } from '../storage/event-log/event-log.ts'
import type { AlertStore } from './alert-store.ts'
import type { AlertsConfig } from './config.ts'

/** Stands for the platform in alerts; no device can have this id. */
const PLATFORM_SUBJECT = '_platform'
const VERSION = 1

export interface PlatformHealthSource {
  /** Of this process, or of what it looks at: tells its alerts from those of others. */
  processId: string
  /** What does not work, by part; empty when everything does. Null: another process looks at the moment, and tells. */
  troubles(): Promise<Record<string, PlatformTrouble> | null>
}

export interface PlatformHealthOptions {
  source: PlatformHealthSource
  store: AlertStore
  eventLog: EventLog
  clock: Clock
  log: Logger
  config: Pick<AlertsConfig, 'healthCheckMs' | 'healthTroubleMs'>
}

interface Trouble {
  sinceMs: number
  seen: PlatformTrouble
  raised: boolean
}

/** A part of a process that says itself that it does not work. */
export function partTrouble(what: string): PlatformTrouble {
  return { kind: 'part', severity: 'critical', what, observed: null, limit: null }
}

/** The platform's own health as anomalies: a part that does not work for a while opens an alert, which resolves when it works again. */
export class PlatformHealth implements Service {
  readonly name = 'platform-health'
  readonly #options: PlatformHealthOptions
  readonly #troubles = new Map<string, Trouble>()
  #timer: Timer | undefined
  #isKnown = false

  constructor(options: PlatformHealthOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { clock, config, log } = this.#options
    this.#timer ??= every(
      clock,
      config.healthCheckMs,
      () => this.check(),
      (error) => log.error({ error: describeError(error) }, "the platform's health was not looked at; the next time it is"),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** One look. What is raised before it is known to be durable is raised again after a crash: the alert is the same. */
  async check(): Promise<void> {
    const { source, clock, config } = this.#options
    const troubles = await source.troubles()
    if (troubles === null) {
      // What the other one tells meanwhile is recalled when it is our turn again.
      this.#troubles.clear()
      this.#isKnown = false
      return
    }
    if (!this.#isKnown) await this.#recall()
    const nowMs = clock.nowMs()
    for (const [part, seen] of Object.entries(troubles)) {
      const trouble = this.#troubles.get(part) ?? { sinceMs: nowMs, seen, raised: false }
      this.#troubles.set(part, trouble)
      if (trouble.raised || nowMs - trouble.sinceMs < config.healthTroubleMs) continue
      await this.#say(part, 'raised', { ...trouble, seen }, nowMs)
      trouble.raised = true
    }
    for (const [part, trouble] of this.#troubles) {
      if (part in troubles) continue
      if (trouble.raised) await this.#say(part, 'cleared', trouble, nowMs)
      this.#troubles.delete(part)
    }
  }

  /** Alerts that this process opened before it was started anew: they are over unless the trouble is still there. */
  async #recall(): Promise<void> {
    const { store, source } = this.#options
    const suffix = suffixOf(source.processId)
    const open = await store.find(
      { tenant: DEFAULT_TENANT, device: PLATFORM_SUBJECT, state: { $in: ['open', 'acknowledged'] } },
      { limit: 1_000 },
    )
    for (const { cause, metric, openedAt, title } of open) {
      if (cause !== 'platform' || !metric.endsWith(suffix)) continue
      this.#troubles.set(metric.slice(0, -suffix.length), { sinceMs: openedAt, seen: partTrouble(title), raised: true })
    }
    this.#isKnown = true
  }

  async #say(part: string, phase: Anomaly['phase'], trouble: Trouble, nowMs: number): Promise<void> {
    const { source, eventLog } = this.#options
    const metric = `${part}${suffixOf(source.processId)}`
    const isRaised = phase === 'raised'
    const { kind, severity, observed, limit } = trouble.seen
    const anomaly: Anomaly = {
      id: `platform-${metric}-${trouble.sinceMs}-${isRaised ? 'raised' : `cleared-${nowMs}`}`,
      ...{ tenant: DEFAULT_TENANT, device: PLATFORM_SUBJECT, type: '', metric, cause: 'platform', ts: nowMs, receivedAt: nowMs, phase },
      score: isRaised ? 1 : 0,
      severity,
      explanation: {
        text: isRaised ? textOf(part, trouble) : `${part} works again`,
        ...{
          observed: isRaised ? observed : null,
          expected: null,
          low: null,
          high: isRaised ? limit : null,
          contributions: isRaised ? [{ part, weight: 1 }] : [],
        },
        ...{ detector: 'platform-health', detectorVersion: VERSION, parameters: { process: source.processId, kind }, readingsSeen: 0 },
      },
      ...{ partition: -1, offset: -1, correlationId: `platform-${part}-${trouble.sinceMs}` },
      evidence: {
        readings: [],
        window: spanOf(trouble.sinceMs, nowMs),
        versions: { detector: 'platform-health', detectorVersion: VERSION, node: process.version },
      },
    }
    const key = deviceKey(DEFAULT_TENANT, PLATFORM_SUBJECT)
    await eventLog.append(TOPICS.anomalies, [{ key, schema: ANOMALY, value: Buffer.from(JSON.stringify(anomaly)) }])
  }
}

function textOf(part: string, { sinceMs, seen: { kind, what } }: Trouble): string {
  const since = new Date(sinceMs).toISOString()
  return kind === 'part' ? `${part} does not work since ${since}: ${what}` : `${what}, since ${since}`
}

function suffixOf(processId: string): string {
  return ` of ${processId}`
}
