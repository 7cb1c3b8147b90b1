import type { Counter } from 'prom-client'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import { deprecationOf, type Deprecations } from './deprecations.ts'
import type { BusEvent } from './envelope.ts'

/** Tells of deprecated versions that are still read: counted each time, logged once for each group and version. */
export class DeprecatedUse {
  readonly #log: Logger
  readonly #counter: Counter<'group' | 'event'>
  readonly #deprecations: Deprecations
  readonly #logged = new Set<string>()

  constructor({ log, metrics, deprecations }: { log: Logger; metrics: Metrics; deprecations: Deprecations }) {
    this.#log = log
    this.#deprecations = deprecations
    this.#counter = metrics.counter(
      'agents_bus_deprecated_events_total',
      'Events of a deprecated version that were read, by group and version',
      ['group', 'event'] as const,
    )
  }

  see(group: string, { type, version }: Pick<BusEvent, 'type' | 'version'>): void {
    const deprecation = deprecationOf(type, version, this.#deprecations)
    if (deprecation === null) return
    const event = `${type}/${version}`
    this.#counter.inc({ group, event })
    if (this.#logged.has(`${group} ${event}`)) return
    this.#logged.add(`${group} ${event}`)
    const { since, until, replacedBy } = deprecation
    this.#log.warn({ group, event, since, until, replacedBy }, 'an event of a deprecated version was read; its writer is to be renewed')
  }
}
