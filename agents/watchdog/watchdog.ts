import type { PlatformTrouble } from '../../contracts/platform-trouble.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { WatchdogConfig } from './config.ts'
import { observe } from './observe.ts'
import { PULSES_COLLECTION, type PulseDocument } from './pulse.ts'
import { EMPTY_WATCH, progressOf, settle, WATCH_COLLECTION, type Mark, type StoredWatch, type WatchDocument } from './watch-state.ts'

const STATE_ID = 'platform'
/** Processes whose pulses are looked at. */
const PROCESSES_MAX = 1_000

export interface WatchdogOptions {
  documents: Documents
  eventLog: Pick<EventLog, 'bounds'>
  clock: Clock
  config: WatchdogConfig
  processId: string
  /** Topics on which consumers set records aside, with `.dlq`. */
  deadLetterTopics: readonly string[]
  /** False where agents are only looked at. */
  works?: boolean
}

/** Of models only which trainings are under way, and that they change: the document's version grows with each epoch. */
interface ModelCard {
  state: string
}
/** Trainings that are watched; few run at a time. */
const TRAININGS_MAX = 100

/**
 * Watches the platform itself, by what its processes and the log leave behind: it need not be where the trouble is. Of several watchdogs the
 * one that holds the lease looks; what it remembers is in the same document, so that another goes on where it was.
 */
export class Watchdog implements Service {
  readonly name = 'watchdog'
  readonly #options: WatchdogOptions
  #states: Collection<WatchDocument> | undefined
  #pulses: Collection<PulseDocument> | undefined
  #models: Collection<ModelCard> | undefined

  constructor(options: WatchdogOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    const { documents } = this.#options
    this.#states ??= await documents.collection<WatchDocument>(WATCH_COLLECTION)
    this.#pulses ??= await documents.collection<PulseDocument>(PULSES_COLLECTION)
    this.#models ??= await documents.collection<ModelCard>({ name: 'models', indexes: [] })
  }
  async stop(): Promise<void> {
    this.#states = undefined
    this.#pulses = undefined
    this.#models = undefined
  }

  /** One look: what is in trouble now, by part; null where the watchdog of another process looks. */
  async look(): Promise<Record<string, PlatformTrouble> | null> {
    const { clock, config, processId, works = true } = this.#options
    if (!works) return null
    const [states, pulsesOfAll] = [opened(this.#states), opened(this.#pulses)]
    const stored = await states.get(STATE_ID)
    const nowMs = clock.nowMs()
    if (stored !== null && stored.holder !== processId && stored.leaseUntil > nowMs) return null
    const pulses = await pulsesOfAll.find({}, { sort: { _id: 1 }, limit: PROCESSES_MAX })
    const training = await opened(this.#models).find({ state: 'training' }, { limit: TRAININGS_MAX })
    const trainings = training.map(({ _id: id, version: mark }) => ({ id, mark }))
    const known = stored ?? EMPTY_WATCH
    const remembered = {
      deadLetters: await this.#deadLetters(known.deadLetters, nowMs),
      pulses: progressOf(
        known.pulses,
        pulses.map(({ process: id, count: mark }) => ({ id, mark })),
        nowMs,
      ),
      trainings: progressOf(known.trainings, trainings, nowMs),
    }
    const parts = settle(known.parts, observe(pulses, remembered, nowMs, config), nowMs, config)
    if (!(await this.#keep(stored, { ...remembered, parts, holder: processId, leaseUntil: nowMs + config.leaseMs }))) return null
    return Object.fromEntries(parts.filter(({ isTold }) => isTold).map(({ part, trouble }) => [part, trouble]))
  }

  async #keep(stored: StoredWatch | null, next: WatchDocument): Promise<boolean> {
    const states = opened(this.#states)
    const written = await (stored === null ? states.insert(STATE_ID, next) : states.replace(STATE_ID, stored.version, next))
    return written.status === 'written'
  }

  /** Growth is counted over one to two times `deadLettersMs`. */
  async #deadLetters(known: WatchDocument['deadLetters'], nowMs: number): Promise<WatchDocument['deadLetters']> {
    const { eventLog, deadLetterTopics, config } = this.#options
    const before = new Map(known.map((each) => [each.topic, each]))
    return Promise.all(
      deadLetterTopics.map(async (topic) => {
        let next = 0
        for (const bounds of (await eventLog.bounds(topic)).values()) next += bounds.next
        const now: Mark = { at: nowMs, next }
        const was = before.get(topic)
        // A log that is shorter than it was is another one.
        if (was === undefined || next < was.next) return { topic, older: now, newer: now, next }
        const isDue = nowMs - was.newer.at >= config.deadLettersMs
        return { topic, older: isDue ? was.newer : was.older, newer: isDue ? now : was.newer, next }
      }),
    )
  }
}

function opened<T extends object>(collection: Collection<T> | undefined): Collection<T> {
  if (collection === undefined) throw new InternalError('the watchdog is used before its start or after its stop')
  return collection
}
