import {
  AggregatorRegistry,
  Registry,
  Counter,
  Gauge,
  Histogram,
  collectDefaultMetrics,
  type MetricObjectWithValues,
  type MetricValue,
} from 'prom-client'

/** One metric with all its samples, as plain data that can be posted between threads. */
export type MetricFamily = MetricObjectWithValues<MetricValue<string>>

/** Gauges of prom-client that are named like counters; the same numbers are there by type, under a good name. */
const MISNAMED = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total']

/**
 * Metrics of one thread. Names: `fleetpulse_<station>_<noun>_<unit>_total` for counters, `…_<unit>` otherwise.
 * Stations make theirs once at construction; labels are bounded sets, never device ids.
 */
export class Metrics {
  readonly registry = new Registry()

  counter<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name: `fleetpulse_${name}`, help, labelNames: [...labelNames], registers: [this.registry] })
  }
  gauge<L extends string = never>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name: `fleetpulse_${name}`, help, labelNames: [...labelNames], registers: [this.registry] })
  }
  /** A gauge whose value is read when it is scraped. */
  gaugeOf(name: string, help: string, read: () => number): void {
    new Gauge({
      name: `fleetpulse_${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.set(read())
      },
    })
  }
  histogram<L extends string = never>(name: string, help: string, buckets: readonly number[], labelNames: readonly L[] = []): Histogram<L> {
    return new Histogram({
      name: `fleetpulse_${name}`,
      help,
      buckets: [...buckets],
      labelNames: [...labelNames],
      registers: [this.registry],
    })
  }
  /** What was counted so far, to be merged with other threads'. */
  families(): Promise<MetricFamily[]> {
    return this.registry.getMetricsAsJSON()
  }
  /** Adds Node's own process metrics (memory, event-loop lag); once per process, in the main thread. */
  collectProcess(): void {
    collectDefaultMetrics({ register: this.registry })
    for (const name of MISNAMED) this.registry.removeSingleMetric(name)
  }
}

/**
 * Prometheus text of several threads. A family that several of them have is written once, its samples added: the text format allows one
 * HELP and TYPE per name.
 */
export function mergedMetricsText(threads: readonly MetricFamily[][]): Promise<string> {
  // prom-client leaves some process metrics out of sums; only the main thread has them.
  const kept = threads.map((families) =>
    families.map((family) => ({ ...family, aggregator: family.aggregator === 'omit' ? 'first' : family.aggregator })),
  )
  return AggregatorRegistry.aggregate(kept).metrics()
}

/** Buckets, in seconds, for what is promised in under a second, revocation first of all. */
export const REVOCATION_BUCKETS_S = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 10] as const

/** Buckets, in seconds, for latencies from a tenth of a millisecond to ten seconds. */
export const LATENCY_BUCKETS_S = [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const
