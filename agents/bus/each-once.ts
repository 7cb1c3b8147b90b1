import { InternalError } from '../../kernel/errors.ts'
import { mapBounded } from '../../kernel/map-bounded.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents } from '../../storage/documents/documents.ts'
import type { AgentsConfig } from '../config.ts'
import type { BusEvent } from './envelope.ts'
import type { EventTaker } from './event-intake.ts'

const TAKEN_COLLECTION: CollectionSpec = { name: 'agent-events-taken', indexes: [{ name: 'by-age', paths: ['at'] }] }
/** Streams whose events are taken at a time. */
const STREAMS_IN_FLIGHT_MAX = 16

export interface EachOnceOptions {
  documents: Documents
  clock: Clock
  config: Pick<AgentsConfig, 'takenRetentionMs'>
  /** Tells its marks from those of others. */
  group: string
  /** Has its effect. It must look at the state first: after a crash an event may come again that had its effect and no mark yet. */
  effect: (event: BusEvent) => Promise<void>
}

/** Has an effect for each event once: a mark per event, kept for a while, tells those that come again. */
export class EachOnce implements EventTaker, Service {
  readonly name: string
  readonly #options: EachOnceOptions
  #taken: Collection<{ at: number }> | undefined

  constructor(options: EachOnceOptions) {
    this.#options = options
    this.name = `${options.group}-once`
  }

  async start(): Promise<void> {
    this.#taken ??= await this.#options.documents.collection<{ at: number }>(TAKEN_COLLECTION)
  }

  async stop(): Promise<void> {
    this.#taken = undefined
  }

  async take(events: readonly BusEvent[]): Promise<null[]> {
    const { effect, clock } = this.#options
    const streams = new Map<string, BusEvent[]>()
    for (const event of events) streams.set(event.stream, [...(streams.get(event.stream) ?? []), event])
    await mapBounded([...streams.values()], STREAMS_IN_FLIGHT_MAX, async (inOrder) => {
      for (const event of inOrder) {
        if (await this.holds(event)) continue
        await effect(event)
        await this.#marks.insert(this.#markOf(event.id), { at: clock.nowMs() })
      }
    })
    return events.map(() => null)
  }

  /** Had this event its effect? */
  async holds(event: BusEvent): Promise<boolean> {
    return (await this.#marks.get(this.#markOf(event.id))) !== null
  }

  /** Removes marks that are older than an event can come again. */
  async sweep(): Promise<void> {
    const { clock, config } = this.#options
    await this.#marks.deleteMany({ at: { $lt: clock.nowMs() - config.takenRetentionMs } })
  }

  get #marks(): Collection<{ at: number }> {
    if (this.#taken === undefined) throw new InternalError(`${this.name} is not started`)
    return this.#taken
  }

  #markOf(event: string): string {
    return `${this.#options.group}:${event}`
  }
}
