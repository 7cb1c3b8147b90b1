import type {
  Answer,
  DeviceFact,
  LedgerFact,
  MaintenanceFact,
  MetricFact,
  PastIncident,
  SecurityFact,
  SecurityFinding,
  Sources,
} from '../../agents/evidence/sources.ts'
import { tainted } from '../../agents/evidence/tainted.ts'
import { SUMMARIES_COLLECTION, type SummaryDocument } from '../../agents/summary/summary-store.ts'
import { alertOf, ALERTS_COLLECTION, type AlertDocument } from '../../alerts/alert-document.ts'
import { INCIDENTS_COLLECTION, type IncidentDocument } from '../../alerts/incidents/incident-document.ts'
import { activeUntil, MAINTENANCE_COLLECTION, type MaintenanceWindow } from '../../alerts/maintenance/maintenance-window.ts'
import type { Alert } from '../../contracts/alert.ts'
import { PLACE_LABEL } from '../../contracts/device-facts.ts'
import type { SecurityCheck } from '../../contracts/finding.ts'
import { matches } from '../../contracts/label-matcher.ts'
import type { RejectReason } from '../../contracts/reading.ts'
import { deviceKey } from '../../contracts/topics.ts'
import { openRegistryCollections, type DeviceDocument, type RegistryCollections } from '../../device-registry/collections.ts'
import {
  bootsOfHour,
  LEDGER_GAPS,
  LEDGER_HOURS,
  type LedgerGapsDocument,
  type LedgerHourDocument,
} from '../../processing/ledger-documents.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

const HOUR_MS = 3_600_000
/** Windows of a tenant that are looked through; the alerts' own bound is far below. */
const MAINTENANCE_MAX = 1_000
/** Revisions that an incident has as a rule, at most. */
const REVISIONS_USUAL = 4

const FACTS: Readonly<Partial<Record<SecurityCheck, SecurityFact>>> = {
  'key-shared': 'identity-shared',
  'certificate-shared': 'identity-shared',
  'revoked-seen': 'certificate-revoked',
  'key-weak': 'certificate-weak',
  'signature-weak': 'certificate-weak',
  'certificate-permissive': 'certificate-weak',
  'never-rotated': 'certificate-due',
}
const FOR_TIME: ReadonlySet<string> = new Set<RejectReason>(['too-old', 'too-far-in-future'])
const FOR_CONTENT: ReadonlySet<string> = new Set<RejectReason>([
  ...(['undecodable', 'not-an-object', 'bad-field', 'no-values', 'too-many-metrics', 'bad-metric-name', 'bad-value'] as const),
  ...(['unknown-metric', 'missing-metric', 'metric-kind-changed', 'out-of-range', 'array-too-long'] as const),
])

interface FindingRow {
  id: string
  check: SecurityCheck
  firstSeenAt: number
  resolvedAt: number | null
}

/** What of the evidence lies in documents, as the stations that own them keep it. Reads only. */
export class DocumentSources {
  readonly #documents: Documents
  #registry: RegistryCollections | undefined
  #alerts: Collection<AlertDocument> | undefined
  #incidents: Collection<IncidentDocument> | undefined
  #summaries: Collection<SummaryDocument> | undefined
  #maintenance: Collection<MaintenanceWindow> | undefined
  #hours: Collection<LedgerHourDocument> | undefined
  #gaps: Collection<LedgerGapsDocument> | undefined
  #findings: Collection<FindingRow> | undefined

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async start(): Promise<void> {
    const documents = this.#documents
    this.#registry ??= await openRegistryCollections(documents)
    this.#alerts ??= await documents.collection(ALERTS_COLLECTION)
    this.#incidents ??= await documents.collection(INCIDENTS_COLLECTION)
    this.#summaries ??= await documents.collection(SUMMARIES_COLLECTION)
    this.#maintenance ??= await documents.collection(MAINTENANCE_COLLECTION)
    this.#hours ??= await documents.collection(LEDGER_HOURS)
    this.#gaps ??= await documents.collection(LEDGER_GAPS)
    this.#findings ??= await documents.collection({
      name: 'findings',
      indexes: [{ name: 'by-device', paths: ['tenant', 'device', 'state'] }],
    })
  }

  async alerts({ tenant, incident, limit }: { tenant: string; incident: string; limit: number }): Promise<Answer<Alert>> {
    const found = await opened(this.#alerts).find({ tenant, 'incident.id': incident }, { sort: { id: 1 }, limit: limit + 1 })
    return { items: found.slice(0, limit).map(({ _id, version, ...document }) => alertOf(document)), truncated: found.length > limit }
  }

  async device(tenant: string, device: string): Promise<DeviceFact | null> {
    const found = await opened(this.#registry).devices.get(deviceKey(tenant, device))
    return found === null ? null : factOf(found)
  }

  async metric(tenant: string, type: string, metric: string): Promise<MetricFact> {
    const found = await opened(this.#registry).types.get(`${tenant}/${type}`)
    const spec = found !== null && Object.hasOwn(found.metrics, metric) ? found.metrics[metric] : undefined
    return { unit: spec?.unit === undefined ? null : tainted(spec.unit), min: spec?.min ?? null, max: spec?.max ?? null }
  }

  /** Those of its own place first: they have most in common with it. */
  async peers({
    tenant,
    type,
    except,
    limit,
  }: {
    tenant: string
    type: string
    except: string
    limit: number
  }): Promise<Answer<DeviceFact>> {
    const { devices } = opened(this.#registry)
    const place = (await devices.get(deviceKey(tenant, except)))?.labels[PLACE_LABEL]
    const others = { tenant, type, state: 'active', id: { $ne: except } }
    const near =
      place === undefined ? [] : await devices.find({ ...others, [`labels.${PLACE_LABEL}`]: place }, { sort: { id: 1 }, limit: limit + 1 })
    const rest = near.length > limit ? [] : await devices.find(others, { sort: { id: 1 }, limit: limit + 1 + near.length })
    const all = [...new Map([...near, ...rest].map((one) => [one.id, one])).values()]
    return { items: all.slice(0, limit).map(factOf), truncated: all.length > limit }
  }

  async findings({ tenant, device, limit }: { tenant: string; device: string; limit: number }): Promise<Answer<SecurityFinding>> {
    const found = await opened(this.#findings).find({ tenant, device }, { sort: { firstSeenAt: -1, id: 1 }, limit: limit + 1 })
    const items = found.slice(0, limit).flatMap(({ id, check, firstSeenAt, resolvedAt }) => {
      const fact = FACTS[check]
      return fact === undefined ? [] : [{ id, fact, from: firstSeenAt, until: resolvedAt }]
    })
    return { items, truncated: found.length > limit }
  }

  async maintenance({
    tenant,
    device,
    type,
    atMs,
  }: {
    tenant: string
    device: string
    type: string
    atMs: number
  }): Promise<MaintenanceFact[]> {
    const windows = await opened(this.#maintenance).find({ tenant }, { sort: { id: 1 }, limit: MAINTENANCE_MAX })
    if (windows.length === 0) return []
    const labels = (await opened(this.#registry).devices.get(deviceKey(tenant, device)))?.labels ?? {}
    return windows.flatMap((window) => {
      const until = activeUntil(window, atMs)
      return until === null || !matches(window.matchers, { ...labels, device, type })
        ? []
        : [{ id: window.id, from: window.once?.from ?? atMs, until }]
    })
  }

  async ledger({ tenant, device, fromMs, toMs }: { tenant: string; device: string; fromMs: number; toMs: number }): Promise<LedgerFact[]> {
    const filter = { tenant, device, hour: { $gt: fromMs - HOUR_MS, $lt: toMs } }
    const [hours, gaps] = await Promise.all([
      opened(this.#hours).find(filter, { sort: { hour: 1 } }),
      opened(this.#gaps).find({ tenant, device }, { limit: 1 }),
    ])
    return hours.map(({ hour, version, stored, rejected, late, duplicate, rejectedByReason, spans }) => {
      const counted = (reasons: ReadonlySet<string>): number =>
        Object.entries(rejectedByReason).reduce((sum, [reason, count]) => sum + (reasons.has(reason) ? count : 0), 0)
      const boots = bootsOfHour(spans ?? {}, (boot) => gaps[0]?.boots.find((known) => known.boot === boot))
      const missing = boots.reduce((sum, boot) => sum + boot.missing, 0)
      return {
        hour,
        version,
        stored,
        rejected,
        rejectedForTime: counted(FOR_TIME),
        rejectedForContent: counted(FOR_CONTENT),
        late,
        duplicate,
        missing,
      }
    })
  }

  async past({ tenant, beforeMs, asOf, except, limit }: Parameters<Sources['past']>[0]): Promise<Answer<PastIncident>> {
    // What was published after `asOf`, or superseded since, must not change what was to be seen then.
    const filter = { tenant, openedAt: { $lt: beforeMs }, publishedAt: { $lte: asOf }, incident: { $ne: except } }
    const sort = { openedAt: -1, incident: 1, revision: -1 } as const
    const most = limit * REVISIONS_USUAL + 1
    const found = await opened(this.#summaries).find(filter, { sort, limit: most })
    const newest = [...new Map(found.toReversed().map((document) => [document.incident, document])).values()].toReversed()
    const page = newest.slice(0, limit)
    const ids = page.map(({ incident }) => incident)
    const incidents = ids.length === 0 ? [] : await opened(this.#incidents).find({ tenant, id: { $in: ids } })
    const byId = new Map(incidents.map((incident) => [incident.id, incident]))
    const truncated = newest.length > limit || found.length === most
    return { items: page.map((document) => pastOf(document, byId.get(document.incident))), truncated }
  }
}

function pastOf(
  { incident, openedAt, publishedAt, summary, rating }: SummaryDocument,
  document: IncidentDocument | undefined,
): PastIncident {
  const resolvedAt = document?.resolvedAt ?? null
  const isOver = document === undefined || document.state === 'resolved'
  const resolution = !isOver ? 'open' : (document?.acknowledgedBy ?? null) === null ? 'by-itself' : 'operator'
  const rated = rating === null ? null : { stars: rating.stars, verdict: rating.verdict }
  return {
    ...{ incident, openedAt, resolvedAt, publishedAt, features: summary.features },
    ...{ cause: summary.causes[0]?.code ?? 'unknown', level: summary.level, rating: rated, resolution },
  }
}

function factOf({ id, type, state, labels }: DeviceDocument): DeviceFact {
  const site = labels[PLACE_LABEL]
  return { device: id, type, state, site: site === undefined ? null : tainted(site) }
}

function opened<T>(collection: T | undefined): T {
  if (collection === undefined) throw new TypeError('DocumentSources.start was not called')
  return collection
}
