import type { Gauge } from 'prom-client'
import type { AuditTrail } from '../../contracts/audit.ts'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import { FINDING_SEVERITIES, type Finding, type FindingSeverity } from '../../contracts/finding.ts'
import type { Actor } from '../../contracts/registrar.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { ConflictError, describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { RiskySetting } from './checks.ts'
import type { PostureConfig } from './config.ts'
import {
  ALERTED_RANK_MAX,
  checkSuppression,
  findingOf,
  FindingStore,
  type FindingQuery,
  type PostureRun,
  type StoredFinding,
} from './finding-store.ts'
import { FleetCheck } from './fleet-check.ts'
import { deviceScore, fleetScore } from './found.ts'
import { securityAnomaly } from './security-anomaly.ts'
import { Sightings } from './sightings.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
/** A run that did not finish within so long was cut off, and may be done again. */
const ABANDONED_MS = 2 * HOUR_MS
const WORST_DEVICES = 10

export interface PostureOptions {
  documents: Documents
  eventLog: EventLog
  auditTrail: AuditTrail
  config: PostureConfig
  /** Smallest RSA key, in bits. */
  rsaBitsMin: number
  /** What this process's own settings let in or out. */
  settings: readonly RiskySetting[]
  /** Devices of a tenant that have not left. */
  countDevices: (tenant: string) => Promise<number>
  clock: Clock
  log: Logger
  metrics: Metrics
  /** False where findings are only read and checks asked for: another process runs the nightly one. */
  works: boolean
}

export interface PostureScore {
  /** 0 to 100. */
  score: number
  devices: number
  counts: Record<FindingSeverity, number>
  suppressed: number
  /** Devices with the lowest scores. */
  worst: { device: string; score: number; findings: number }[]
  lastRun: PostureRun | null
}

/** Looks for weaknesses in what was issued and how it is used: every night, and when asked. */
export class Posture implements Service {
  readonly name = 'posture'
  readonly #options: PostureOptions
  readonly #store: FindingStore
  readonly #sightings: Sightings | undefined
  readonly #scoreGauge: Gauge | undefined
  readonly #findingsGauge: Gauge<'severity'> | undefined
  #isOpen = false
  #timer: Timer | undefined
  #ticking: Promise<void> = Promise.resolve()
  #running: Promise<PostureRun> | undefined

  constructor(options: PostureOptions) {
    this.#options = options
    this.#store = new FindingStore(options.documents)
    if (!options.works) return
    this.#sightings = new Sightings(options)
    const { metrics } = options
    this.#scoreGauge = metrics.gauge('provisioning_posture_score', 'Security score of the default tenant, 0 to 100, at the last check.')
    this.#findingsGauge = metrics.gauge(
      'provisioning_open_findings',
      'Security findings that count, of the default tenant, at the last check.',
      ['severity'],
    )
  }

  async start(): Promise<void> {
    if (this.#isOpen) return
    const { clock, config, log } = this.#options
    await this.#store.open()
    this.#isOpen = true
    if (this.#sightings === undefined) return
    await this.#sightings.start()
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'the security check failed; it is tried again')
    this.#timer = every(clock, config.checkIntervalMs, () => (this.#ticking = this.#tick()), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#sightings?.stop()
    await Promise.allSettled([this.#ticking, this.#running])
    this.#isOpen = false
    this.#store.close()
  }

  /** Checks everything now; while a check runs, its end. */
  check(by: Actor): Promise<PostureRun> {
    return this.#run(by, -1)
  }

  /** Worst first. */
  async list(query: FindingQuery): Promise<{ items: Finding[]; next: { rank: number; id: string } | null }> {
    const page = await this.#store.list(query, this.#options.clock.nowMs())
    return { items: page.items.map(findingOf), next: page.next }
  }

  /** Throws NotFoundError. */
  async get(tenant: string, id: string): Promise<Finding> {
    return findingOf(await this.#store.get(tenant, id))
  }

  /** It neither counts nor alerts until a time; then it does again, if it is still there. Throws NotFoundError, InvalidInputError, ConflictError. */
  async suppress(tenant: string, id: string, order: { until: number; why: string; by: Actor }): Promise<Finding> {
    checkSuppression(order.until, this.#options.clock.nowMs())
    return this.#change(tenant, id, { suppressedUntil: order.until, suppressedBy: order.by, suppressedWhy: order.why })
  }

  /** It counts again. Throws NotFoundError, ConflictError. */
  async restore(tenant: string, id: string): Promise<Finding> {
    return this.#change(tenant, id, { suppressedUntil: 0, suppressedBy: null, suppressedWhy: null })
  }

  async score(tenant: string): Promise<PostureScore> {
    const nowMs = this.#options.clock.nowMs()
    const counts = { critical: 0, high: 0, medium: 0, low: 0 }
    const byDevice = new Map<string, FindingSeverity[]>()
    const ofPlatform: FindingSeverity[] = []
    for await (const { device, severity } of this.#store.counting(tenant, nowMs)) {
      counts[severity]++
      if (device === null) ofPlatform.push(severity)
      else byDevice.set(device, [...(byDevice.get(device) ?? []), severity])
    }
    const devices = await this.#options.countDevices(tenant)
    const affected = Array.from(byDevice, ([device, severities]) => ({
      device,
      score: deviceScore(severities),
      findings: severities.length,
    }))
    affected.sort((a, b) => a.score - b.score || (a.device < b.device ? -1 : 1))
    const score = fleetScore(
      devices,
      affected.map((each) => each.score),
      ofPlatform,
    )
    const { items } = await this.#store.list({ tenant, state: 'suppressed', limit: 1_000 }, nowMs)
    return {
      score,
      devices,
      counts,
      suppressed: items.length,
      worst: affected.slice(0, WORST_DEVICES),
      lastRun: await this.#store.lastRun(),
    }
  }

  /** Score of one device. */
  async scoreOf(tenant: string, device: string): Promise<number> {
    const { items } = await this.#store.list({ tenant, state: 'open', device, limit: 100 }, this.#options.clock.nowMs())
    return deviceScore(items.map(({ severity }) => severity))
  }

  async #tick(): Promise<void> {
    const { clock, config, auditTrail } = this.#options
    const nowMs = clock.nowMs()
    await this.#realert(nowMs)
    const day = Math.floor((nowMs - config.hourUtc * HOUR_MS) / DAY_MS)
    if (!(await this.#store.claimNight(day, nowMs, ABANDONED_MS))) return
    const { certificates, open } = await this.#run('system', day)
    await auditTrail.record({
      tenant: DEFAULT_TENANT,
      actor: 'system',
      action: 'finding.check',
      subject: { kind: 'finding', id: 'all' },
      after: { certificates, open },
    })
  }

  #run(by: Actor, day: number): Promise<PostureRun> {
    this.#running ??= this.#checkAll(by, day).finally(() => (this.#running = undefined))
    return this.#running
  }

  async #checkAll(by: Actor, day: number): Promise<PostureRun> {
    const { clock, config, documents, log } = this.#options
    const startedAt = clock.nowMs()
    const look = await FleetCheck.open(documents, this.#options)
    for await (const found of look.found(startedAt)) await this.#alertFor(await this.#store.see(found, startedAt))
    await this.#resolveUnseen(startedAt)
    await this.#store.forget(startedAt - config.resolvedKeptDays * DAY_MS)
    const { score, counts } = await this.#measure()
    const open = FINDING_SEVERITIES.reduce((sum, severity) => sum + counts[severity], 0)
    const run = { day, by, startedAt, finishedAt: clock.nowMs(), certificates: look.certificates, open }
    await this.#store.finish(run)
    log.info({ ...run, score }, 'security checked')
    return run
  }

  async #resolveUnseen(startedAt: number): Promise<void> {
    for (;;) {
      const unseen = await this.#store.unseen(startedAt)
      if (unseen.length === 0) return
      for (const finding of unseen) {
        const resolved = await this.#store.change(finding, { state: 'resolved', resolvedAt: startedAt })
        if (resolved !== undefined) await this.#alertFor(resolved)
      }
    }
  }

  async #measure(): Promise<PostureScore> {
    const measured = await this.score(DEFAULT_TENANT)
    this.#scoreGauge?.set(measured.score)
    for (const severity of FINDING_SEVERITIES) this.#findingsGauge?.set({ severity }, measured.counts[severity])
    return measured
  }

  /** Suppressions that began or ended since the last look. */
  async #realert(nowMs: number): Promise<void> {
    if (!this.#options.config.alerts) return
    for (const finding of await this.#store.misalerted(nowMs)) await this.#alertFor(finding)
  }

  /** Raises or clears the alert where it is not as it should be; the message first, so that a crash between repeats it. */
  async #alertFor(finding: StoredFinding): Promise<void> {
    const { clock, config, eventLog } = this.#options
    const nowMs = clock.nowMs()
    const counts = finding.state === 'open' && finding.suppressedUntil <= nowMs
    const wanted = config.alerts && counts && finding.rank <= ALERTED_RANK_MAX
    if (wanted === finding.alerted) return
    await eventLog.append(TOPICS.anomalies, [securityAnomaly(findingOf(finding), wanted ? 'raised' : 'cleared', nowMs)])
    await this.#store.change(finding, { alerted: wanted })
  }

  async #change(tenant: string, id: string, set: Partial<Finding>): Promise<Finding> {
    for (;;) {
      const finding = await this.#store.get(tenant, id)
      if (finding.state === 'resolved') throw new ConflictError('the finding is over', { remedy: 'Nothing is left to suppress.' })
      const changed = await this.#store.change(finding, set)
      if (changed === undefined) continue
      await this.#alertFor(changed)
      return findingOf(changed)
    }
  }
}
