import type { Answer, SourceReading, Sources } from './sources.ts'

/** Readings of one device, newest first; what is cut off is the oldest. */
export interface SpanAsk {
  device: string
  /** Only readings that carry it. */
  metric?: string
  /** Event time, epoch ms, first included and last not. */
  fromTs?: number
  toTs?: number
  limit: number
}

/** What was asked for, and its answer once it is there. */
interface Span extends SpanAsk {
  answer: Promise<Answer<SourceReading>>
}

/**
 * Readings as one look at them needs them: the store is asked once for each span of a device, what lies within a span is answered from it, and
 * the same span of several devices is one question. A store of all that a fleet told in minutes reads as much for any of them.
 * Holds what it was answered: made for one look, and gone with it.
 */
export class DeviceReadings {
  readonly #sources: Pick<Sources, 'readings'>
  readonly #tenant: string
  readonly #signal: AbortSignal | undefined
  readonly #spans = new Map<string, Span[]>()

  /** When the signal aborts, all that is asked is given up. */
  constructor(options: { sources: Pick<Sources, 'readings'>; tenant: string; signal?: AbortSignal | undefined }) {
    this.#sources = options.sources
    this.#tenant = options.tenant
    this.#signal = options.signal
  }

  async newest(ask: SpanAsk): Promise<Answer<SourceReading>> {
    const spans = this.#spansOf(ask.device)
    const same = (): Span | undefined => spans.find((span) => isSame(span, ask))
    const wider = same() === undefined ? spans.find((span) => covers(span, ask)) : undefined
    if (wider !== undefined) {
      const whole = await wider.answer
      if (!whole.truncated) return partOf(whole, ask)
    }
    return (same() ?? this.#keep({ ...ask, answer: this.#read([ask.device], ask) })).answer
  }

  /** Asks for the same of several devices at once, ahead of who needs it. `limit` is of each. */
  together(devices: readonly string[], ask: Omit<SpanAsk, 'device'>): void {
    const wanted = [...new Set(devices)].filter((device) => !this.#spansOf(device).some((span) => covers(span, { ...ask, device })))
    if (wanted.length < 2) return
    const all = this.#read(wanted, { ...ask, limit: ask.limit * wanted.length })
    // Null: whose readings were cut off is not known.
    const shares = all.then(({ items, truncated }) => (truncated ? null : shared(items)))
    for (const device of wanted) {
      const answer = shares.then((each) => (each === null ? this.#read([device], ask) : bounded(each.get(device) ?? [], ask.limit)))
      this.#keep({ ...ask, device, answer })
    }
  }

  #spansOf(device: string): Span[] {
    let spans = this.#spans.get(device)
    if (spans === undefined) {
      spans = []
      this.#spans.set(device, spans)
    }
    return spans
  }

  #keep(span: Span): Span {
    // Whoever needs it hears why it is not there; nobody may.
    span.answer.catch(() => undefined)
    this.#spansOf(span.device).push(span)
    return span
  }

  #read(devices: readonly string[], { metric, fromTs, toTs, limit }: Omit<SpanAsk, 'device'>): Promise<Answer<SourceReading>> {
    return this.#sources.readings({
      ...{ tenant: this.#tenant, devices, limit },
      ...(metric === undefined ? {} : { metric }),
      ...(fromTs === undefined ? {} : { fromTs }),
      ...(toTs === undefined ? {} : { toTs }),
      ...(this.#signal === undefined ? {} : { signal: this.#signal }),
    })
  }
}

function isSame(span: Span, { metric, fromTs, toTs, limit }: SpanAsk): boolean {
  return span.metric === metric && span.fromTs === fromTs && span.toTs === toTs && span.limit === limit
}

function covers(span: Span, { metric, fromTs = -Infinity, toTs = Infinity }: SpanAsk): boolean {
  return (
    (span.metric === undefined || span.metric === metric) && (span.fromTs ?? -Infinity) <= fromTs && (span.toTs ?? Infinity) >= toTs
  )
}

/** Of a whole span. */
function partOf({ items }: Answer<SourceReading>, { metric, fromTs = -Infinity, toTs = Infinity, limit }: SpanAsk): Answer<SourceReading> {
  const within = items.filter(({ ts, values }) => ts >= fromTs && ts < toTs && (metric === undefined || Object.hasOwn(values, metric)))
  return bounded(within, limit)
}

function bounded(newestFirst: SourceReading[], limit: number): Answer<SourceReading> {
  return { items: newestFirst.slice(0, limit), truncated: newestFirst.length > limit }
}

function shared(items: readonly SourceReading[]): Map<string, SourceReading[]> {
  const shares = new Map<string, SourceReading[]>()
  for (const item of items) {
    const share = shares.get(item.device)
    if (share === undefined) shares.set(item.device, [item])
    else share.push(item)
  }
  return shares
}
