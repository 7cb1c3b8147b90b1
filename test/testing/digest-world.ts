import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel } from 'node:worker_threads'
import { EvidenceConfigSchema, type EvidenceConfig } from '../../agents/evidence/config.ts'
import { ALERTS_COLLECTION, NO_TIMES, type AlertDocument } from '../../alerts/alert-document.ts'
import { INCIDENTS_COLLECTION } from '../../alerts/incidents/incident-document.ts'
import { MAINTENANCE_COLLECTION } from '../../alerts/maintenance/maintenance-window.ts'
import { AnomalyArchive } from '../../anomaly/anomaly-archive.ts'
import { EvidenceSources } from '../../app/evidence/evidence-sources.ts'
import type { Anomaly } from '../../contracts/anomaly.ts'
import { NO_EVIDENCE } from '../../contracts/evidence.ts'
import type { Incident } from '../../contracts/incident.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { Trail } from '../../device-registry/audit/trail.ts'
import { openRegistryCollections, type RegistryCollections } from '../../device-registry/collections.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock, type Clock } from '../../kernel/time.ts'
import { LEDGER_HOURS } from '../../processing/ledger-documents.ts'
import type { PROFILES } from '../../simulators/device-profiles.ts'
import { DocumentsConfigSchema } from '../../storage/documents/config.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { DuckdbSeriesStore } from '../../storage/series/duckdb-series-store.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import { SeriesConfigSchema } from '../../storage/series/config.ts'

/** A clock that stands where it is put. */
export class SetClock implements Clock {
  #nowMs = 0
  set(nowMs: number): void {
    this.#nowMs = nowMs
  }
  nowMs(): number {
    return this.#nowMs
  }
  monotonicMs(): number {
    return systemClock.monotonicMs()
  }
  after(delayMs: number, run: () => void) {
    return systemClock.after(delayMs, run)
  }
}

function defaults<T>(result: { status: 'valid'; value: T } | { status: 'invalid'; faults: unknown }): T {
  if (result.status === 'invalid') throw new TypeError(JSON.stringify(result.faults))
  return result.value
}

/** The default settings, but that nothing is given up because this machine is busy. */
export function evidenceConfig(changes: Partial<EvidenceConfig> = {}): EvidenceConfig {
  return defaults(compileSchema(EvidenceConfigSchema)({ checkTimeoutMs: 60_000, verifyTimeoutMs: 60_000, ...changes }))
}

/** What a scenario puts into the stores. */
export interface Told {
  tenant: string
  readings: Omit<LoggedReading, 'partition' | 'offset' | 'correlationId'>[]
  anomaly: Anomaly
  openedAt: number
  /** Other alerts of the incident. */
  companions?: { device: string; at: number }[]
}

/** Engines behind the ports, started; `settle` resolves when what was written can be read. */
export interface DigestEngines {
  documents: Documents
  series: SeriesStore
  settle?(): Promise<void>
  dispose(): Promise<void>
}

async function embeddedEngines(): Promise<DigestEngines> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetpulse-digests-'))
  const common = { clock: systemClock, log: silentLogger, metrics: new Metrics() }
  const documents = new LmdbDocuments({
    ...common,
    directory: join(directory, 'documents'),
    config: defaults(compileSchema(DocumentsConfigSchema)({})),
  })
  const series = new DuckdbSeriesStore({
    ...common,
    directory: join(directory, 'series'),
    config: defaults(compileSchema(SeriesConfigSchema)({})),
  })
  await documents.start()
  await series.start()
  const dispose = async (): Promise<void> => {
    await series.stop()
    await documents.stop()
    await rm(directory, { recursive: true, force: true })
  }
  return { documents, series, dispose }
}

/** Real engines, the real archive and trail, and the adapter that reads them. */
export class DigestWorld {
  readonly clock = new SetClock()
  readonly documents: Documents
  readonly series: SeriesStore
  readonly trail: Trail
  readonly archive: AnomalyArchive
  readonly sources: EvidenceSources
  readonly #engines: DigestEngines
  #registry: RegistryCollections | undefined
  // Timers let a process end; a test that waits for one must not.
  readonly #hold = new MessageChannel()
  #offset = 0
  #rows: LoggedReading[] = []

  private constructor(engines: DigestEngines) {
    const { documents, series } = engines
    ;[this.#engines, this.documents, this.series] = [engines, documents, series]
    const common = { clock: systemClock, log: silentLogger }
    this.trail = new Trail({ ...common, clock: this.clock, documents, random: seededRandom(1), metrics: new Metrics() })
    const archived = { documents, eventLog: {} as EventLog, anomaliesMax: 1_000, works: false, metrics: new Metrics() }
    this.archive = new AnomalyArchive({ ...common, ...archived })
    this.sources = new EvidenceSources({ documents, series, auditTrail: this.trail, anomalyArchive: this.archive })
  }

  /** Over the embedded engines, unless told otherwise. */
  static async open(engines?: DigestEngines): Promise<DigestWorld> {
    const world = new DigestWorld(engines ?? (await embeddedEngines()))
    world.#hold.port1.on('message', () => undefined)
    await world.trail.start()
    await world.archive.start()
    await world.sources.start()
    world.#registry = await openRegistryCollections(world.documents)
    return world
  }

  async close(): Promise<void> {
    this.#hold.port1.close()
    await this.trail.stop()
    await this.archive.stop()
    await this.#engines.dispose()
  }

  async device(tenant: string, id: string, type: string, labels: Record<string, string> = {}): Promise<void> {
    const kept = { announced: true, revision: 1 }
    await this.#opened().devices.put(`${tenant}/${id}`, { id, tenant, type, state: 'active', labels, createdAt: 1, updatedAt: 1, ...kept })
  }

  async type(tenant: string, { type, metrics }: (typeof PROFILES)[number]): Promise<void> {
    const specs = Object.fromEntries(Object.entries(metrics).map(([name, { spec }]) => [name, spec]))
    const rest = {
      silenceAfterMs: null,
      futureToleranceMs: 600_000,
      earliestTs: 0,
      createdAt: 1,
      updatedAt: 1,
      announced: true,
      revision: 1,
    }
    await this.#opened().types.put(`${tenant}/${type}`, { id: type, tenant, open: true, metrics: specs, ...rest })
  }

  async audited(tenant: string, at: number, action: string, device: string): Promise<void> {
    this.clock.set(at)
    await this.trail.record({ tenant, actor: 'system', action, subject: { kind: 'device', id: device } })
  }

  async maintained(tenant: string, device: string, from: number, until: number): Promise<void> {
    const windows = await this.documents.collection<object>(MAINTENANCE_COLLECTION)
    const matchers = [{ label: 'device', is: device }]
    await windows.put(`${tenant}-window`, {
      id: `${tenant}-window`,
      tenant,
      name: 'work',
      matchers,
      once: { from, until },
      createdBy: 'user:ana',
      createdAt: 1,
      updatedAt: 1,
    })
  }

  async found(tenant: string, device: string, check: string, at: number): Promise<void> {
    const findings = await this.documents.collection<object>({
      name: 'findings',
      indexes: [{ name: 'by-device', paths: ['tenant', 'device', 'state'] }],
    })
    await findings.put(`${tenant}/${check}`, { id: check, tenant, check, device, state: 'open', firstSeenAt: at, resolvedAt: null })
  }

  async counted(
    tenant: string,
    device: string,
    at: number,
    counts: { stored: number; reasons?: Record<string, number>; late?: number; duplicate?: number },
  ): Promise<void> {
    const hour = Math.floor(at / 3_600_000) * 3_600_000
    const { stored, reasons = {}, late = 0, duplicate = 0 } = counts
    const rejected = Object.values(reasons).reduce((sum, count) => sum + count, 0)
    const ledger: Collection<object> = await this.documents.collection<object>(LEDGER_HOURS)
    await ledger.put(`${tenant}/${device}/${hour}`, {
      tenant,
      device,
      hour,
      stored,
      rejected,
      late,
      duplicate,
      rejectedByReason: reasons,
      spans: {},
    })
  }

  /** The readings wait for `settle`; the rest is there when it resolves. */
  async tell({ tenant, readings, anomaly, openedAt, companions = [] }: Told): Promise<Incident> {
    for (const reading of readings) this.#rows.push({ ...reading, partition: 0, offset: this.#offset++, correlationId: 'c' })
    const anomalies = await this.documents.collection<Anomaly>({ name: 'anomalies', indexes: [] })
    await anomalies.put(anomaly.id, anomaly)
    const incident = incidentOf(anomaly, openedAt, 1 + companions.length)
    const alerts = await this.documents.collection<AlertDocument>(ALERTS_COLLECTION)
    await alerts.put(`${tenant}-a0`, alertDocument(anomaly, `${tenant}-a0`, incident.id, openedAt))
    for (const [index, { device, at }] of companions.entries()) {
      const other = { ...anomaly, device, id: `${anomaly.id}-${index}` }
      await alerts.put(`${tenant}-a${index + 1}`, alertDocument(other, `${tenant}-a${index + 1}`, incident.id, at))
    }
    const incidents = await this.documents.collection<object>(INCIDENTS_COLLECTION)
    await incidents.put(incident.id, incident)
    return incident
  }

  async settle(): Promise<void> {
    const rows = this.#rows
    this.#rows = []
    await this.series.write(rows, new Map([[0, this.#offset]]))
    await this.#engines.settle?.()
  }

  /** So many readings of devices that no scenario is about, as they come now; answers how many. */
  async write(count: number): Promise<number> {
    const nowMs = systemClock.nowMs()
    const rows = Array.from({ length: count }, (_, i): LoggedReading => {
      const place = { partition: 0, offset: this.#offset++, correlationId: 'c' }
      return {
        tenant: 'busy',
        device: `busy-${i % 100}`,
        type: 'pump',
        ts: nowMs,
        receivedAt: nowMs,
        values: { pressure: 6 + (i % 7), vibration: 2 },
        ...place,
      }
    })
    if (count > 0) await this.series.write(rows, new Map([[0, this.#offset]]))
    return count
  }

  #opened(): RegistryCollections {
    if (this.#registry === undefined) throw new TypeError('not open')
    return this.#registry
  }
}

function alertDocument(anomaly: Anomaly, id: string, incident: string, openedAt: number): AlertDocument {
  const { tenant, device, type, metric, cause, severity, ts, score, explanation } = anomaly
  return {
    ...{
      id,
      tenant,
      device,
      type,
      metric,
      cause,
      severity,
      fingerprint: `${tenant}/${device}/${metric}/${cause}`,
      labels: {},
      state: 'open',
    },
    ...{
      title: 'an alert',
      startedAt: ts,
      openedAt,
      updatedAt: openedAt,
      resolvedAt: null,
      silencedUntil: null,
      snoozedUntil: null,
      suppressedBy: null,
    },
    ...{ quiet: null, incident: { id: incident, level: 'device' }, assignee: null, flapping: false, escalation: 0, announced: true },
    ...{
      anomalyCount: 1,
      maxScore: score,
      firstAnomalyId: anomaly.id,
      lastAnomalyId: anomaly.id,
      explanation,
      correlationId: 'c',
      history: [],
      historyDropped: 0,
    },
    ...{
      generation: 1,
      isFinal: false,
      sequence: 1,
      position: { partition: 0, offset: 0 },
      elsewhere: [],
      recentAnomalyIds: [],
      clearedTs: null,
      flapTs: [],
    },
    ...{
      severeTs: ts,
      isSeverityFixed: false,
      evidence: NO_EVIDENCE,
      rule: null,
      times: NO_TIMES,
      dueAt: null,
      outbox: [],
      unpublishedSince: null,
    },
  }
}

function incidentOf({ tenant, device, type, cause, severity }: Anomaly, openedAt: number, alertCount: number): Incident {
  return {
    ...{
      id: `inc-${tenant}`,
      tenant,
      level: 'device',
      title: `${cause} at ${device}`,
      cause,
      device,
      type,
      place: '',
      labels: {},
      state: 'open',
      severity,
    },
    ...{ escalation: 0, announced: true, acknowledgedBy: null, alertCount, openCount: alertCount, acknowledgedCount: 0, devices: [device] },
    ...{ firstAlertId: `${tenant}-a0`, openedAt, updatedAt: openedAt, resolvedAt: null, correlationId: 'c' },
  }
}
