import type { Anomaly } from '../../contracts/anomaly.ts'
import type { Principal } from '../../contracts/authorisation.ts'
import type { FeedbackRule } from '../../contracts/feedback-change.ts'
import type { AnomalyEvent, Feedback, FeedbackScope, Verdict } from '../../contracts/feedback.ts'
import { ConflictError, InvalidInputError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import type { AnomalyConfig } from '../config.ts'
import { Policies } from '../policies/policies.ts'
import type { Policy } from '../policies/policy.ts'
import { FeedbackStore, type FeedbackQuery } from './feedback-store.ts'
import { PreviewRunner } from './preview-runner.ts'

/** What feedback needs to know of devices. */
export interface FeedbackDevices {
  /** Type of a device; throws NotFoundError. */
  typeOf(tenant: string, device: string): Promise<string>
  /** Devices of a type, with a label where one is named, by id; at most `max`. */
  ofType(tenant: string, type: string, label: { label: string; value: string } | null, max: number): Promise<string[]>
  /** Labels of a device; none for an unknown one. */
  labelsOf(tenant: string, device: string): Promise<Readonly<Record<string, string>>>
}

export interface FeedbackServiceOptions {
  documents: Documents
  eventLog: EventLog
  series: SeriesStore
  clock: Clock
  log: Logger
  config: AnomalyConfig
  devices: FeedbackDevices
  /** Thresholds that people put. */
  policies: { get(tenant: string): Promise<{ policies: readonly Policy[]; version: number }> }
  anomalies: {
    get(tenant: string, id: string): Promise<Anomaly>
    list(query: {
      tenant: string
      device: string
      metric: string
      fromTs: number
      limit: number
      oldestFirst: true
    }): Promise<{ items: Anomaly[] }>
  }
}

export interface Judgement {
  verdict: Verdict
  cause?: string
  note?: string
  scope?: FeedbackScope
}

export interface LabelledRange extends Omit<Judgement, 'scope'> {
  device: string
  metric: string
  fromTs: number
  toTs: number
}

/** Anomalies after one among which its end is looked for. */
const AFTERWARDS_MAX = 20

/** What people say of anomalies: kept as labels, tried by a replay, applied to the detectors, undone. */
export class FeedbackService implements Service {
  readonly name = 'feedback'
  readonly #options: FeedbackServiceOptions
  readonly #store: FeedbackStore
  readonly #previews: PreviewRunner

  constructor(options: FeedbackServiceOptions) {
    this.#options = options
    this.#store = new FeedbackStore(options)
    this.#previews = new PreviewRunner({
      ...options,
      store: this.#store,
      policiesFor: (tenant, device) => this.#policiesFor(tenant, device),
    })
  }

  async start(): Promise<void> {
    await this.#store.start()
  }

  async stop(): Promise<void> {
    await this.#previews.stop()
    await this.#store.stop()
  }

  /** Says whether an anomaly was one. Throws NotFoundError; InvalidInputError for the end of one. */
  async judge(principal: Principal, anomalyId: string, judgement: Judgement): Promise<Feedback> {
    const { tenant } = principal
    const anomaly = await this.#options.anomalies.get(tenant, anomalyId)
    if (anomaly.phase !== 'raised') {
      throw new InvalidInputError('this is the end of an anomaly', { remedy: 'Judge the anomaly that was raised.' })
    }
    const cleared = await this.#clearingOf(anomaly)
    return this.#add(principal, judgement, {
      device: anomaly.device,
      type: anomaly.type,
      metric: anomaly.metric,
      fromTs: anomaly.ts,
      toTs: cleared === undefined ? anomaly.ts : anomaly.ts + (cleared.event?.durationMs ?? cleared.ts - anomaly.ts),
      anomaly: anomaly.id,
      pattern: anomaly.pattern ?? null,
      event: eventOf(anomaly, cleared),
    })
  }

  /** Says what a range of readings was. Throws NotFoundError for an unknown device. */
  async label(principal: Principal, range: LabelledRange): Promise<Feedback> {
    const { device, metric, fromTs, toTs } = range
    if (toTs < fromTs) throw new InvalidInputError('the range ends before it begins', { details: { field: 'to' } })
    const type = await this.#options.devices.typeOf(principal.tenant, device)
    return this.#add(principal, range, { device, type, metric, fromTs, toTs, anomaly: null, pattern: null, event: null })
  }

  list(query: FeedbackQuery): Promise<{ items: Feedback[]; more: boolean }> {
    return this.#store.list(query)
  }

  async get(tenant: string, id: string): Promise<Feedback> {
    const { _id, version: _version, ...feedback } = await this.#store.get(tenant, id)
    return feedback
  }

  /** Begins to find out what applying it would change; ask `get` for progress and result. */
  async preview(principal: Principal, id: string): Promise<Feedback> {
    const { config, devices } = this.#options
    const feedback = await this.get(principal.tenant, id)
    const rule = await this.#ruleOf(feedback)
    const all = rule.devices ?? (await devices.ofType(rule.tenant, rule.type, null, config.previewDevicesMax + 1))
    // The device that it was given on shows most.
    const others = all.filter((device) => device !== feedback.device)
    const chosen = [feedback.device, ...others].slice(0, config.previewDevicesMax)
    return this.#previews.begin(feedback, rule, chosen, others.length + 1 > chosen.length)
  }

  /** Detectors go by it from their next readings on. Applying what is applied changes nothing. */
  async apply(principal: Principal, id: string): Promise<Feedback> {
    const feedback = await this.get(principal.tenant, id)
    if (feedback.state === 'withdrawn') throw new ConflictError('this feedback was withdrawn', { remedy: 'Give it anew.' })
    const rule = await this.#ruleOf(feedback)
    const latest = await this.#store.latestChange(id)
    const change = latest !== undefined && latest.rule !== null ? latest : await this.#change(principal, feedback, rule)
    return this.#store.update(feedback.tenant, id, { state: 'applied', change: change.number, event: rule.event, ...this.#now() })
  }

  /** Detectors no longer go by it; it is still a label. */
  async undo(principal: Principal, id: string): Promise<Feedback> {
    const feedback = await this.get(principal.tenant, id)
    const latest = await this.#store.latestChange(id)
    if (latest === undefined) throw new ConflictError('this feedback was never applied')
    const change = latest.rule === null ? latest : await this.#change(principal, feedback, null)
    return this.#store.update(feedback.tenant, id, { state: 'undone', change: change.number, ...this.#now() })
  }

  /** It counts for nothing any more; where it was applied, that is undone. */
  async withdraw(principal: Principal, id: string): Promise<Feedback> {
    const feedback = await this.get(principal.tenant, id)
    const latest = await this.#store.latestChange(id)
    if (latest !== undefined && latest.rule !== null) await this.#change(principal, feedback, null)
    return this.#store.update(feedback.tenant, id, { state: 'withdrawn', ...this.#now() })
  }

  #now(): { updatedAt: number } {
    return { updatedAt: this.#options.clock.nowMs() }
  }

  async #add(
    principal: Principal,
    { verdict, cause = '', note = '', scope = { kind: 'device' } }: Judgement,
    what: Pick<Feedback, 'device' | 'type' | 'metric' | 'fromTs' | 'toTs' | 'anomaly' | 'pattern' | 'event'>,
  ): Promise<Feedback> {
    const { clock, config } = this.#options
    const { tenant } = principal
    if ((await this.#store.count(tenant)) >= config.feedbackMax) {
      throw new LimitError(`anomaly.feedbackMax is reached (${config.feedbackMax})`, { retryable: false })
    }
    const at = clock.nowMs()
    const by = `${principal.kind}:${principal.id}`
    const own = { id: newId(at), tenant, verdict, cause, note, scope, by, at, updatedAt: at }
    return this.#store.add({ ...what, ...own, state: 'given', change: null, preview: null })
  }

  async #change(principal: Principal, feedback: Feedback, rule: FeedbackRule | null) {
    const { config, clock } = this.#options
    if ((await this.#store.changes()) >= config.feedbackChangesMax) {
      throw new LimitError(`anomaly.feedbackChangesMax is reached (${config.feedbackChangesMax} changes)`, { retryable: false })
    }
    const by = `${principal.kind}:${principal.id}`
    return this.#store.change({ tenant: feedback.tenant, feedback: feedback.id, rule, by, at: clock.nowMs() })
  }

  /** Throws ConflictError where there is nothing to find the like of. */
  async #ruleOf({ id, tenant, device, type, metric, verdict, pattern, event, scope, anomaly }: Feedback): Promise<FeedbackRule> {
    const { anomalies, devices, config } = this.#options
    if (pattern === null) {
      throw new ConflictError('this feedback has no pattern, so nothing can be found that is like it', {
        remedy: 'It counts as a label; judge an anomaly of a value that was raised by this release to change what detectors do.',
      })
    }
    const judged = event === null && anomaly !== null ? await anomalies.get(tenant, anomaly).catch(goneIsUndefined) : undefined
    const over = judged === undefined ? event : eventOf(judged, await this.#clearingOf(judged))
    let members: readonly string[] | null = scope.kind === 'fleet' ? null : [device]
    if (scope.kind === 'group') {
      members = await devices.ofType(tenant, type, scope, config.feedbackGroupMax + 1)
      if (members.length > config.feedbackGroupMax) {
        throw new LimitError(`the group has more than ${config.feedbackGroupMax} devices (anomaly.feedbackGroupMax)`, { retryable: false })
      }
    }
    return { id, tenant, type, metric, devices: members, verdict, pattern, event: over }
  }

  async #policiesFor(tenant: string, device: string): Promise<Policies> {
    const { config, policies, devices } = this.#options
    const { policies: put, version } = await policies.get(tenant)
    const labels = await devices.labelsOf(tenant, device)
    const change = { number: version, policies: put }
    return new Policies({ config, view: { at: () => (version === 0 ? null : change) }, labelsOf: () => labels })
  }

  async #clearingOf({ tenant, device, metric, cause, ts }: Anomaly): Promise<Anomaly | undefined> {
    const { items } = await this.#options.anomalies.list({ tenant, device, metric, fromTs: ts, limit: AFTERWARDS_MAX, oldestFirst: true })
    return items.find((one) => one.phase === 'cleared' && one.cause === cause)
  }
}

function eventOf(anomaly: Anomaly, cleared: Anomaly | undefined): AnomalyEvent | null {
  if (cleared?.event === undefined) return null
  // An event that grew critical was raised twice: its course is told from the first time.
  return {
    ...cleared.event,
    durationMs: Math.max(0, cleared.event.durationMs),
    peakScore: Math.max(anomaly.score, cleared.event.peakScore),
  }
}

/** An anomaly may have left the archive; any other failure is one. */
function goneIsUndefined(error: unknown): undefined {
  if (error instanceof NotFoundError) return undefined
  throw error
}
