import type { Anomaly } from '../../../contracts/anomaly.ts'
import type { EvidenceQuery, TimeWindow } from '../../evidence/evidence.ts'
import type { EvidenceConfig } from '../../evidence/config.ts'
import { DeviceReadings } from '../../evidence/device-readings.ts'
import type { SourceReading, Sources } from '../../evidence/sources.ts'
import { changes, middle, moments, quantile, stretches, usualDistance } from './own-statistics.ts'

/** Figures by name, as this side finds them; an absent or null one is not there. */
export type Figures = Readonly<Record<string, number | null | undefined>>

export interface RecountOptions {
  sources: Sources
  tenant: string
  asOf: number
  config: EvidenceConfig
  /** When it aborts, readings that are being asked for are given up. */
  signal?: AbortSignal
}

type Of<K extends EvidenceQuery['kind']> = Extract<EvidenceQuery, { kind: K }>

/**
 * Asks the sources again and counts in its own way. Shares nothing with `agents/evidence/measure.ts` but the questions and
 * how readings are fetched.
 */
export class Recount {
  readonly #options: RecountOptions
  readonly #readings: DeviceReadings
  /** Readings per question. */
  readonly #limit: number
  readonly #figures = new Map<string, Promise<Figures>>()

  constructor(options: RecountOptions) {
    this.#options = options
    this.#readings = new DeviceReadings(options)
    this.#limit = 2 * options.config.readingsMax + 1
  }

  /** All of these will be counted: what they ask of one device is fetched at once. */
  ahead(queries: readonly EvidenceQuery[]): void {
    const spans = new Map<string, { fromTs: number; toTs: number }>()
    for (const query of queries) {
      const about = 'of' in query ? query.of : query
      const device = 'device' in about ? about.device : undefined
      const window = 'window' in query ? query.window : 'fromTs' in query ? { from: query.fromTs, to: query.toTs } : null
      if (window === null || device === undefined) continue
      const { from } = 'baseline' in query ? query.baseline : window
      const known = spans.get(device) ?? { fromTs: Infinity, toTs: -Infinity }
      spans.set(device, { fromTs: Math.min(known.fromTs, from), toTs: Math.max(known.toTs, window.to) })
    }
    // Who counts hears what throws.
    for (const [device, { fromTs, toTs }] of spans) this.#rowsOf(device, fromTs, toTs).catch(() => undefined)
  }

  /** Counted once for each question, however often it is asked. */
  figures(query: EvidenceQuery): Promise<Figures> {
    const key = JSON.stringify(query)
    const known = this.#figures.get(key) ?? this.#count(query)
    this.#figures.set(key, known)
    return known
  }

  async #count(query: EvidenceQuery): Promise<Figures> {
    switch (query.kind) {
      case 'reading':
        return { value: (await this.#series(query.device, query.metric, { from: query.ts, to: query.ts + 1 })).at(-1)?.[1] }
      case 'window_stats':
        return this.#stats(query)
      case 'deviation':
        return this.#change(query.device, query.metric, query.window, query.baseline, query.beyondSpreads)
      case 'model_score':
      case 'attribution':
        return this.#detector(query)
      case 'peer_comparison':
        return this.#others(query)
      case 'gap':
        return this.#silence(query)
      case 'registry_fact':
        return this.#registry(query)
      case 'history':
        return this.#history(query)
      case 'pipeline_health':
        return 'trouble' in query ? this.#platform(query) : this.#health(query)
      case 'operator_statement':
        return {}
    }
  }

  /** Rows of a device, newest first, as the watermark knew them. */
  async #rowsOf(device: string, fromTs: number, toTs: number | undefined, metric?: string, limit?: number): Promise<SourceReading[]> {
    const { asOf } = this.#options
    const { items } = await this.#readings.newest({
      ...{ device, fromTs, limit: limit ?? this.#limit },
      ...(toTs === undefined ? {} : { toTs }),
      ...(metric === undefined ? {} : { metric }),
    })
    return items.filter((row) => row.receivedAt <= asOf)
  }

  async #series(device: string, metric: string, { from, to }: TimeWindow): Promise<[ts: number, value: number][]> {
    return numbersIn(await this.#rowsOf(device, from, to, metric), metric, from, to)
  }

  async #stats({ device, metric, window }: Of<'window_stats'>): Promise<Figures> {
    const values = (await this.#series(device, metric, window)).map(([, value]) => value)
    const { count, mean, deviation } = moments(values)
    if (count === 0) return {}
    const { same } = stretches(values, () => false)
    return {
      ...{ count, mean, stddev: deviation, median: middle(values), min: quantile(values, 0), max: quantile(values, 1) },
      ...{ first: values[0], last: values.at(-1), longestSame: same },
    }
  }

  /** One query for the time of both windows, so that what lies between them is there. */
  async #change(device: string, metric: string, window: TimeWindow, baseline: TimeWindow, beyond: number, alone = false): Promise<Figures> {
    const rows = await this.#rowsOf(device, baseline.from, window.to, alone ? metric : undefined)
    const usualOnes = numbersIn(rows, metric, baseline.from, baseline.to).map(([, value]) => value)
    const between = numbersIn(rows, metric, baseline.to, window.from).map(([, value]) => value)
    const during = numbersIn(rows, metric, window.from, window.to)
    if (usualOnes.length < this.#options.config.readingsUsualMin || during.length === 0) return {}
    return changeOf(usualOnes, between, during, beyond)
  }

  async #detector({ kind, anomaly: id }: Of<'model_score' | 'attribution'>): Promise<Figures> {
    const { sources, tenant, asOf } = this.#options
    const anomaly = await sources.anomaly(tenant, id)
    if (anomaly === null || asOf < anomaly.receivedAt) return {}
    if (kind === 'attribution')
      return { parts: anomaly.explanation.contributions.length, weight: anomaly.explanation.contributions[0]?.weight }
    const { observed, expected, low, high, readingsSeen } = anomaly.explanation
    return { score: anomaly.score, ts: anomaly.ts, observed, expected, low, high, readingsSeen }
  }

  async #others(query: Of<'peer_comparison'>): Promise<Figures> {
    const { window, baseline } = query
    let [seen, moved, together] = [0, 0, 0]
    if ('silent' in query) {
      this.#readings.together(query.devices, { fromTs: baseline.from, toTs: window.to, limit: this.#limit })
      for (const device of query.devices) {
        const [newest] = await this.#rowsOf(device, baseline.from, window.to, undefined, 16)
        if (newest === undefined) continue
        seen++
        if (newest.ts < window.from) moved++
      }
      return seen === 0 ? {} : { seen, moved, together: moved }
    }
    const { of, series, movedSpreads } = query
    const elsewhere = series.filter(({ device }) => device !== of.device)
    for (const metric of new Set(elsewhere.map((one) => one.metric)))
      this.#readings.together(
        elsewhere.filter((one) => one.metric === metric).map(({ device }) => device),
        { metric, fromTs: baseline.from, toTs: window.to, limit: this.#limit },
      )
    const own = (await this.#change(of.device, of.metric, window, baseline, movedSpreads)).shiftSpreads
    const changed = await Promise.all(
      series.map((one) => this.#change(one.device, one.metric, window, baseline, movedSpreads, one.device !== of.device)),
    )
    for (const { shiftSpreads } of changed) {
      if (typeof shiftSpreads !== 'number') continue
      seen++
      if (Math.abs(shiftSpreads) < movedSpreads) continue
      moved++
      if (typeof own === 'number' && shiftSpreads > 0 === own > 0 && own !== 0) together++
    }
    return seen === 0 || typeof own !== 'number' ? {} : { seen, moved, together }
  }

  async #silence({ device, fromTs, toTs }: Of<'gap'>): Promise<Figures> {
    const rows = await this.#rowsOf(device, fromTs, toTs)
    const receipts = Array.from(rows, ({ receivedAt }) => receivedAt).sort((a, b) => a - b)
    const last = receipts.at(-1)
    if (last === undefined || receipts.length === 1) return {}
    const pauses = [...changes(receipts)]
    return {
      ...{ count: receipts.length, usualGapMs: middle(pauses), longestGapMs: quantile(pauses, 1) },
      ...{ lastSeenAt: last, silentForMs: this.#options.asOf - last },
    }
  }

  async #registry(query: Of<'registry_fact'>): Promise<Figures> {
    const { sources, tenant, asOf, config } = this.#options
    if (query.fact === 'alerts') {
      const { items } = await sources.alerts({ tenant, incident: query.incident, limit: config.alertsMax })
      let alerts = 0
      const devices = new Set<string>()
      for (const alert of items) {
        if (alert.openedAt > asOf || alert.id > query.through) continue
        alerts++
        devices.add(alert.device)
      }
      return alerts === 0 ? {} : { alerts, devices: devices.size }
    }
    const { device, type, fromMs, toMs } = query
    if (query.fact === 'maintenance') {
      const windows = await sources.maintenance({ tenant, device, type, atMs: toMs })
      return {
        on: windows.length,
        until:
          windows.length === 0
            ? null
            : quantile(
                windows.map(({ until }) => until),
                1,
              ),
      }
    }
    if (query.fact === 'findings') {
      const { items } = await sources.findings({ tenant, device, limit: config.changesMax })
      const open = items.filter((finding) => finding.from <= asOf && !(finding.until !== null && finding.until <= asOf))
      const shared = open.reduce((sum, { fact }) => sum + Number(fact === 'identity-shared'), 0)
      return { open: open.length, shared, other: open.length - shared }
    }
    const { items } = await sources.changes({ tenant, device, type, fromMs, toMs, limit: config.changesMax })
    const tally: Record<string, number> = { firmware: 0, config: 0, certificate: 0 }
    for (const { kind } of items) {
      const name = kind === 'type' ? 'config' : kind
      tally[name] = (tally[name] ?? 0) + 1
    }
    return { changes: items.length, firmware: tally.firmware, config: tally.config, certificate: tally.certificate, lastAt: items[0]?.at }
  }

  async #history({ incident, beforeMs, features, similarFrom }: Of<'history'>): Promise<Figures> {
    const { sources, tenant, asOf, config } = this.#options
    const { items } = await sources.past({ tenant, beforeMs, asOf, except: incident, limit: config.historyMax })
    let [compared, similar] = [0, 0]
    let nearest: number | null = null
    for (const past of items) {
      if (past.publishedAt > asOf) continue
      compared++
      const likeness = likenessOf(past.features, features)
      if (likeness >= similarFrom) similar++
      if (nearest === null || likeness > nearest) nearest = likeness
    }
    return { compared, similar, nearest }
  }

  async #platform({ incident, trouble }: Extract<Of<'pipeline_health'>, { trouble: string }>): Promise<Figures> {
    const { sources, tenant, config } = this.#options
    for (const alert of (await sources.alerts({ tenant, incident, limit: config.alertsMax })).items) {
      const { observed, high: limit } = alert.explanation as Anomaly['explanation']
      if (alert.id === trouble) return { observed, limit, since: alert.startedAt }
    }
    return {}
  }

  async #health({ device, window, baseline, received }: Extract<Of<'pipeline_health'>, { device: string }>): Promise<Figures> {
    const { sources, tenant } = this.#options
    const [hours, rows] = await Promise.all([
      sources.ledger({ tenant, device, fromMs: received.from, toMs: received.to }),
      this.#rowsOf(device, baseline.from, window.to),
    ])
    const took = ({ from, to }: TimeWindow): number[] =>
      rows.filter(({ ts }) => from <= ts && ts < to).map(({ ts, receivedAt }) => receivedAt - ts)
    const usually = took(baseline)
    const lately = took(window)
    const usual = usually.length === 0 ? null : middle(usually)
    const totals: Record<string, number> = {}
    for (const hour of hours) {
      const { stored, rejected, rejectedForTime, rejectedForContent, late, duplicate, missing, version } = hour
      const counts = { stored, rejected, rejectedForTime, rejectedForContent, late, duplicate, missing, ledgerVersion: version }
      for (const [name, count] of Object.entries(counts)) totals[name] = (totals[name] ?? 0) + count
    }
    return {
      ...{ stored: 0, rejected: 0, rejectedForTime: 0, rejectedForContent: 0, late: 0, duplicate: 0, missing: 0, ledgerVersion: 0 },
      ...totals,
      usualDelayMs: usual,
      delayMs: lately.length === 0 ? null : middle(lately),
      lateReadings: usual === null ? 0 : lately.reduce((count, delay) => count + Number(delay - usual > 60_000), 0),
    }
  }
}

/** Newest first in, oldest first out. */
function numbersIn(rows: readonly SourceReading[], metric: string, from: number, to: number): [ts: number, value: number][] {
  const found: [number, number][] = []
  for (let i = rows.length - 1; i >= 0; i--) {
    const { ts, values } = rows[i] as SourceReading
    if (ts < from || ts >= to || !Object.hasOwn(values, metric)) continue
    const value = values[metric]
    if (typeof value === 'number') found.push([ts, value])
    else if (value === true || value === false) found.push([ts, Number(value)])
  }
  return found
}

function changeOf(
  usualOnes: readonly number[],
  between: readonly number[],
  during: readonly [ts: number, value: number][],
  beyond: number,
): Figures {
  const usual = middle(usualOnes)
  const spread = usualDistance(usualOnes)
  const values = during.map(([, value]) => value)
  const inSpreads = (value: number): number => (value - usual) / spread
  let [peakTs, peak] = during[0] as [number, number]
  for (const [ts, value] of during) if (Math.abs(value - usual) / spread > Math.abs(peak - usual) / spread) [peakTs, peak] = [ts, value]
  const far = stretches(values, (value) => Math.abs(inSpreads(value)) >= beyond)
  const third = Math.max(1, Math.trunc(values.length / 3))
  const floor = spread / 1_000
  const stepsBefore = [...changes(usualOnes)]
  const stepsDuring = [...changes(values)]
  const stepBefore = Math.max(floor, stepsBefore.length === 0 ? 0 : middle(stepsBefore))
  const shift = middle(values) - usual
  return {
    ...{ usualCount: usualOnes.length, count: values.length, usual, spread, peak, peakTs, peakSpreads: inSpreads(peak) },
    ...{ shift, shiftSpreads: shift / spread, beyond: far.all, longestBeyond: far.holding },
    tailSpreads: middle(values.slice(-9).map(inSpreads)),
    headSpreads: middle(values.slice(0, 9).map(inSpreads)),
    approachSpreads: inSpreads(middle((between.length === 0 ? usualOnes : between).slice(-9))),
    trendSpreads: middle(values.slice(-third).map(inSpreads)) - middle(values.slice(0, third).map(inSpreads)),
    stepRatio: stepsDuring.length === 0 ? 1 : Math.min(1e6, middle(stepsDuring) / stepBefore),
    widthRatio: Math.min(1e6, moments(values).deviation / Math.max(floor, moments(usualOnes).deviation)),
    jumpRatio: Math.min(
      1e6,
      quantile([...changes([(between.at(-1) ?? usualOnes.at(-1))!, ...values])], 1) / Math.max(floor, ...stepsBefore),
    ),
    longestSame: far.same,
  }
}

/** Cosine of two vectors. */
function likenessOf(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return 0
  const length = (of: readonly number[]): number => Math.hypot(...of)
  const lengths = length(a) * length(b)
  return lengths === 0 ? 0 : a.reduce((sum, x, i) => sum + x * b[i]!, 0) / lengths
}
