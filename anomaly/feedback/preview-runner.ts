import type { FeedbackRule } from '../../contracts/feedback-change.ts'
import type { Feedback, FeedbackPreview } from '../../contracts/feedback.ts'
import { describeError, LimitError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import type { AnomalyConfig } from '../config.ts'
import type { Policies } from '../policies/policies.ts'
import type { FeedbackStore } from './feedback-store.ts'
import { compareAlarms, SeriesReplay, type ReplayDifference, type StoredSeries } from './replay.ts'

/** Readings between two pauses: some milliseconds of work. */
const STEP_READINGS = 500
/** Readings read from the store at once. */
const PAGE_READINGS = 1_000
/** Labels of one series that are looked at. */
const LABELS_MAX = 1_000

export interface PreviewRunnerOptions {
  store: FeedbackStore
  series: SeriesStore
  clock: Clock
  log: Logger
  config: AnomalyConfig
  /** What holds for a device of a tenant at present, by what people put and by its labels. */
  policiesFor: (tenant: string, device: string) => Promise<Policies>
}

/** Replays stored readings with and without a rule, one preview at a time, beside the road: it rests for most of its time. */
export class PreviewRunner {
  readonly #options: PreviewRunnerOptions
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined

  constructor(options: PreviewRunnerOptions) {
    this.#options = options
  }

  /** Begins; its progress and result are in the feedback's document. Throws LimitError while another one is under way. */
  async begin(feedback: Feedback, rule: FeedbackRule, devices: readonly string[], partial: boolean): Promise<Feedback> {
    if (this.#running !== undefined) {
      throw new LimitError('another preview is under way', { retryable: true, remedy: 'Wait until it is done.' })
    }
    const preview: FeedbackPreview = {
      state: 'running',
      startedAt: this.#options.clock.nowMs(),
      finishedAt: null,
      problem: '',
      seriesDone: 0,
      seriesTotal: devices.length,
      readings: 0,
      partial,
      alarmsBefore: 0,
      alarmsRemoved: 0,
      alarmsAdded: 0,
      trueAlarmsLost: 0,
      abnormalRanges: 0,
      delayMs: 0,
    }
    const begun = await this.#options.store.update(feedback.tenant, feedback.id, { preview })
    this.#running = this.#run(feedback, rule, devices, preview).finally(() => (this.#running = undefined))
    return begun
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
  }

  async #run(feedback: Feedback, rule: FeedbackRule, devices: readonly string[], preview: FeedbackPreview): Promise<void> {
    const { store, clock, log } = this.#options
    const save = async (): Promise<void> => void (await store.update(feedback.tenant, feedback.id, { preview: { ...preview } }))
    try {
      const before = (await store.rules(feedback.tenant)).filter(({ id }) => id !== rule.id)
      const delaysMs: number[] = []
      for (const device of devices) {
        if (this.#stopping.signal.aborted) throw new LimitError('the platform was stopped', { retryable: true })
        delaysMs.push(...(await this.#replay(rule, before, device, preview)))
        preview.delayMs = delaysMs.length === 0 ? 0 : Math.round(delaysMs.reduce((sum, delay) => sum + delay, 0) / delaysMs.length)
        preview.seriesDone++
        if (preview.seriesDone < preview.seriesTotal) await save()
      }
      preview.state = 'done'
    } catch (error) {
      log.warn({ feedback: feedback.id, error: describeError(error) }, 'the preview of feedback failed')
      preview.state = 'failed'
      preview.problem = describeError(error)
    }
    preview.finishedAt = clock.nowMs()
    await save().catch((error: unknown) => log.warn({ error: describeError(error) }, 'the result of a preview was not stored'))
  }

  async #replay(rule: FeedbackRule, before: readonly FeedbackRule[], device: string, preview: FeedbackPreview): Promise<number[]> {
    const { store, config, policiesFor } = this.#options
    const series = await this.#stored(rule, device, preview)
    const policies = await policiesFor(rule.tenant, device)
    const runs = [before, [...before, rule]].map((rules) => new SeriesReplay(series, rules, config, policies)) as [
      SeriesReplay,
      SeriesReplay,
    ]
    for (const run of runs) await this.#paced(run)
    const first = series.readings[0]?.ts ?? 0
    const labels = await store.labelsOf(rule.tenant, device, rule.metric, LABELS_MAX)
    const abnormal = labels.filter(({ verdict, toTs }) => verdict === 'confirmed' && toTs >= first)
    const difference = compareAlarms(runs[0].alarms, runs[1].alarms, abnormal)
    preview.readings += series.readings.length
    for (const key of COUNTS) preview[key] += difference[key]
    return difference.delaysMs
  }

  /** Newest readings first, up to the bound. */
  async #stored({ tenant, type, metric }: FeedbackRule, device: string, preview: FeedbackPreview): Promise<StoredSeries> {
    const { series, config } = this.#options
    const readings: { ts: number; value: StoredSeries['readings'][number]['value'] }[] = []
    let cursor: string | undefined
    do {
      const page = await series.range({ tenant, device, metric, limit: PAGE_READINGS, ...(cursor === undefined ? {} : { cursor }) })
      for (const { ts, values } of page.items) {
        const value = values[metric]
        if (value !== undefined) readings.push({ ts, value })
      }
      cursor = page.next ?? undefined
    } while (cursor !== undefined && readings.length < config.previewReadingsMax && !this.#stopping.signal.aborted)
    if (cursor !== undefined) preview.partial = true
    return { tenant, type, device, metric, readings: readings.reverse() }
  }

  async #paced(run: SeriesReplay): Promise<void> {
    const { clock, config } = this.#options
    for (;;) {
      const startedMs = clock.monotonicMs()
      const more = run.step(STEP_READINGS)
      if (!more || this.#stopping.signal.aborted) return
      await sleep(clock, (clock.monotonicMs() - startedMs) * (1 / config.previewShareMax - 1), this.#stopping.signal)
    }
  }
}

const COUNTS = [
  'alarmsBefore',
  'alarmsRemoved',
  'alarmsAdded',
  'abnormalRanges',
  'trueAlarmsLost',
] as const satisfies readonly (keyof ReplayDifference)[]
