import type { AlertChange, AlertChangeKind } from '../contracts/alert.ts'
import type { Anomaly } from '../contracts/anomaly.ts'
import { newId } from '../kernel/ids.ts'
import type { Clock } from '../kernel/time.ts'
import type { Offsets } from '../storage/event-log/event-log.ts'
import { bare, withTimes, type AlertDocument, type AnomalyPosition, type OutboxEntry } from './alert-document.ts'
import {
  clearAlert,
  fingerprintOf,
  openAlert,
  repeatAlert,
  resolveAlert,
  stayedQuiet,
  withAnomaly,
  type LifecycleLimits,
  type Surroundings,
} from './alert-lifecycle.ts'
import { changeOf, tooManyRaces, type AlertStore } from './alert-store.ts'
import type { IncidentDesk } from './incidents/incident-desk.ts'
import type { SurroundingsFinder } from './surroundings.ts'

export interface PositionedAnomaly {
  anomaly: Anomaly
  position: AnomalyPosition
}

export interface AnomalyApplierOptions {
  store: AlertStore
  surroundings: SurroundingsFinder
  incidents: IncidentDesk
  clock: Clock
  config: LifecycleLimits
}

/**
 * Turns anomalies of one fingerprint into durable alert documents and the changes to be told.
 *
 * Exactly once in effect: a document knows the last anomaly applied to it, and keeps, until that anomaly's offset is committed, which
 * changes it made. An anomaly that comes again after a crash changes nothing, and its changes, whose messages go with the commit that did
 * not happen, are told again under the same ids. A newly opened alert takes such entries over from the one before it, so that the newest
 * document of a fingerprint always knows them all.
 */
export class AnomalyApplier {
  readonly #store: AlertStore
  readonly #clock: Clock
  readonly #limits: LifecycleLimits
  readonly #surroundings: SurroundingsFinder
  readonly #incidents: IncidentDesk

  constructor(options: AnomalyApplierOptions) {
    this.#store = options.store
    this.#surroundings = options.surroundings
    this.#incidents = options.incidents
    this.#clock = options.clock
    this.#limits = options.config
  }

  /** `items` in order of the log; `committed` are the group's offsets. Resolves with the changes when everything is durable. */
  async apply(items: readonly PositionedAnomaly[], committed: Offsets): Promise<AlertChange[]> {
    const first = items[0]
    if (first === undefined) return []
    const fingerprint = fingerprintOf(first.anomaly)
    const changes = new Map<string, AlertChange>()
    let next = 0
    for (let races = 0; next < items.length;) {
      const read = await this.#store.newest(fingerprint)
      const newest = read === null ? null : bare(read)
      const around = await this.#surroundings.of(first.anomaly, newest === null || newest.state === 'resolved' ? undefined : newest.labels)
      const opens = (newest === null || newest.state === 'resolved') && items.slice(next).some(({ anomaly }) => anomaly.phase === 'raised')
      const incident = opens ? await this.#incidents.assign({ ...first.anomaly, labels: around.labels }) : null
      const fold = new AnomalyFold({ newest, around, incident, committed, limits: this.#limits, nowMs: this.#clock.nowMs() })
      const end = fold.run(items, next)
      if (!(await this.#write(read, fold))) {
        if (++races >= this.#store.casAttemptsMax) throw tooManyRaces(`the alert of ${fingerprint}`)
        continue
      }
      await this.#gather(fold, changes)
      next = end
    }
    return [...changes.values()]
  }

  async #write(read: Awaited<ReturnType<AlertStore['newest']>>, fold: AnomalyFold): Promise<boolean> {
    if (!fold.dirty || fold.alert === null) return true
    if (read !== null && !fold.opened) return this.#store.replace(read, fold.alert)
    // Nobody can reopen the one before from here on: that, and the unique generation, keep two from being open.
    if (read !== null && read.isFinal !== true && !(await this.#store.replace(read, { ...bare(read), isFinal: true }))) return false
    return this.#store.insert(fold.alert)
  }

  async #gather(fold: AnomalyFold, changes: Map<string, AlertChange>): Promise<void> {
    for (const entry of fold.redelivered) {
      const document = entry.alertId === fold.alert?.id ? fold.alert : await this.#store.get(entry.alertId)
      if (document === null) continue
      const change = changeOf(entry, document)
      if (!changes.has(change.id)) changes.set(change.id, change)
    }
    for (const told of fold.told) {
      const change = changeOf(told.entry, told.alert)
      changes.set(change.id, change)
    }
  }
}

interface FoldOptions {
  newest: AlertDocument | null
  around: Surroundings
  /** Of an alert that opens. */
  incident: AlertDocument['incident']
  committed: Offsets
  limits: LifecycleLimits
  nowMs: number
}

/** One pass over anomalies against one document: ends at the last of them, or where another document is to be written first. */
class AnomalyFold {
  alert: AlertDocument | null
  dirty = false
  opened = false
  readonly told: { entry: OutboxEntry; alert: AlertDocument }[] = []
  readonly redelivered: OutboxEntry[] = []
  readonly #limits: LifecycleLimits
  readonly #around: Surroundings
  readonly #incident: AlertDocument['incident']
  readonly #nowMs: number

  constructor({ newest, around, incident, committed, limits, nowMs }: FoldOptions) {
    this.#incident = incident
    this.#around = around
    this.alert = newest === null ? null : { ...newest, outbox: newest.outbox.filter((entry) => mayComeAgain(entry, committed)) }
    this.#limits = limits
    this.#nowMs = nowMs
  }

  /** Answers the index of the first anomaly not taken. */
  run(items: readonly PositionedAnomaly[], from: number): number {
    for (let i = from; i < items.length; i++) {
      if (!this.#take(items[i] as PositionedAnomaly)) return i
    }
    return items.length
  }

  #take(item: PositionedAnomaly): boolean {
    const { anomaly, position } = item
    const alert = this.alert
    if (alert !== null && wasApplied(alert, item)) {
      this.#redeliver(alert, position)
      return true
    }
    if (alert === null || alert.state === 'resolved') {
      if (anomaly.phase === 'cleared') return true
      if (this.dirty) return false
      this.#open(alert, item)
      return true
    }
    if (anomaly.phase === 'raised' && stayedQuiet(alert, anomaly.ts, this.#limits)) {
      const author = { by: 'system', note: 'the cause stayed away for the quiet time' }
      this.#change(resolveAlert(alert, author, this.#nowMs, this.#limits), 'resolved', position)
      return false
    }
    const step = anomaly.phase === 'raised' ? repeatAlert : clearAlert
    const { alert: stepped, change } = step(this.#surrounded(alert), anomaly, this.#nowMs, this.#limits)
    this.#change(withAnomaly(stepped, anomaly, position, this.#limits), change, position)
    return true
  }

  #open(previous: AlertDocument | null, { anomaly, position }: PositionedAnomaly): void {
    if (previous !== null) this.#redeliver(previous, position)
    const opening = { id: newId(this.#nowMs), nowMs: this.#nowMs, previous, around: this.#around, incident: this.#incident }
    this.alert = openAlert(anomaly, position, opening, this.#limits)
    this.dirty = this.opened = true
    this.told.push({ entry: this.alert.outbox.at(-1) as OutboxEntry, alert: this.alert })
  }

  /** A quiet that began since the last change holds for this one; its end is told when the sweep finds it. */
  #surrounded(alert: AlertDocument): AlertDocument {
    const { quiet, askAgainAt } = this.#around
    return quiet === null || alert.quiet !== null ? alert : withTimes({ ...alert, quiet }, { quiet: askAgainAt })
  }

  #redeliver(alert: AlertDocument, position: AnomalyPosition): void {
    for (const entry of alert.outbox) {
      if (entry.position?.partition === position.partition && entry.position.offset === position.offset) this.redelivered.push(entry)
    }
  }

  /** Repeats within one pass are told once, as the last of them left the alert. */
  #change(alert: AlertDocument, change: AlertChangeKind | null, position: AnomalyPosition): void {
    this.dirty = true
    this.alert = alert
    if (change === null) return
    const last = this.told.at(-1)
    const merges = change === 'repeated' && last?.entry.change === 'repeated'
    const sequence = merges ? alert.sequence : alert.sequence + 1
    const entry: OutboxEntry = { alertId: alert.id, sequence, change, position }
    const older = merges ? alert.outbox.filter((each) => each !== last.entry) : alert.outbox
    this.alert = { ...alert, sequence, outbox: [...older, entry] }
    if (merges) this.told.pop()
    this.told.push({ entry, alert: this.alert })
  }
}

function mayComeAgain(entry: OutboxEntry, committed: Offsets): boolean {
  return entry.position === null || entry.position.offset >= (committed.get(entry.position.partition) ?? 0)
}

function wasApplied(alert: AlertDocument, { anomaly, position }: PositionedAnomaly): boolean {
  const seen = [alert.position, ...alert.elsewhere].find(({ partition }) => partition === position.partition)
  return (seen !== undefined && position.offset <= seen.offset) || alert.recentAnomalyIds.includes(anomaly.id)
}
