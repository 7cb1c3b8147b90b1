import { alerts, anomalies, devices } from '../api/endpoints.ts'
import { messageOf } from '../api/client.ts'
import type { Alert, Anomaly, Device, DeviceType, LatestReading, LiveReading, MetricKind, MetricSpec } from '../api/types.ts'
import { live } from '../live/live.svelte.ts'
import { Resource } from '../live/resource.svelte.ts'

const ANOMALIES_MAX = 200
const ALERTS_MAX = 100

export interface MetricInfo {
  name: string
  kind: MetricKind
  spec: MetricSpec | undefined
}

/** What is known of one device, kept up to date by the live stream. */
export class DeviceView {
  readonly id: string
  readonly device: Resource<Device>
  latest = $state.raw<LatestReading | null>(null)
  latestLoaded = $state(false)
  /** What is said while the device is not known well enough to be judged; empty afterwards. */
  learning = $state('')
  type = $state.raw<DeviceType | undefined>(undefined)
  /** Kinds of the metrics stored for the device's type. */
  kinds = $state.raw<Record<string, MetricKind>>({})
  /** Newest event time first. */
  anomalies = $state.raw<Anomaly[]>([])
  alerts = $state.raw<Alert[]>([])
  error = $state('')

  /** The device's own metrics first; of an open type only those, because others of the type may have quite different ones. */
  readonly metrics: MetricInfo[] = $derived.by(() => {
    const own = Object.keys(this.latest?.values ?? {})
    const listed = Object.keys(this.type?.metrics ?? {})
    const stored = this.type?.open === false || own.length === 0 ? Object.keys(this.kinds) : []
    const names = [...new Set([...own, ...listed, ...stored])].sort((a, b) => a.localeCompare(b))
    return names.map((name) => ({ name, kind: this.#kindOf(name), spec: this.type?.metrics[name] }))
  })

  constructor(id: string) {
    this.id = id
    this.device = new Resource(() => devices.get(id))
  }

  async load(): Promise<void> {
    await this.device.load()
    const type = this.device.value?.type
    if (type === undefined) return
    try {
      const [latest, found, notes, known, learning] = await Promise.all([
        devices.latest(this.id),
        anomalies.list({ device: this.id, limit: ANOMALIES_MAX }),
        alerts.list({ device: this.id, limit: ALERTS_MAX }),
        devices.type(type),
        devices.learning(this.id),
      ])
      this.learning = learning.learning ? learning.text : ''
      if (latest.reading !== null && latest.reading.ts >= (this.latest?.ts ?? 0)) this.latest = latest.reading
      this.kinds = latest.metrics
      this.latestLoaded = true
      this.anomalies = found.items
      this.alerts = notes.items
      this.type = known
      this.error = ''
    } catch (error) {
      this.error = messageOf(error)
    }
  }

  /** Follows the stream; returns the way to stop. */
  follow(onReading: (reading: LiveReading) => void): () => void {
    const stops = [
      live.want({ device: this.id }),
      live.on('reading', (reading) => {
        if (reading.device !== this.id) return
        this.#takeReading(reading)
        onReading(reading)
      }),
      live.on('anomaly', (anomaly) => {
        if (anomaly.device === this.id) this.anomalies = upsert(this.anomalies, anomaly, ANOMALIES_MAX)
      }),
      live.on('alert', ({ alert }) => {
        if (alert.device === this.id) this.alerts = upsert(this.alerts, alert, ALERTS_MAX)
      }),
      live.on('device', (event) => {
        if (event.device === this.id) void this.device.load()
      }),
    ]
    return () => stops.forEach((stop) => stop())
  }

  takeAlert(alert: Alert): void {
    this.alerts = upsert(this.alerts, alert, ALERTS_MAX)
  }

  /** The alert that gathers an anomaly, if there is one. */
  alertOf(anomaly: Anomaly): Alert | undefined {
    return this.alerts.find(
      (alert) =>
        alert.metric === anomaly.metric &&
        alert.cause === anomaly.cause &&
        alert.startedAt <= anomaly.ts &&
        (alert.resolvedAt ?? Infinity) >= anomaly.ts,
    )
  }

  /** A reading may carry some metrics only: what it does not say stays as it was. */
  #takeReading(reading: LiveReading): void {
    const latest = this.latest
    if (latest !== null && reading.ts < latest.ts) return
    this.latest = { ts: reading.ts, receivedAt: reading.receivedAt, values: { ...latest?.values, ...reading.values } }
  }

  #kindOf(name: string): MetricKind {
    const value = this.latest?.values[name]
    return this.type?.metrics[name]?.kind ?? (value === undefined ? (this.kinds[name] ?? 'number') : (typeof value as MetricKind))
  }
}

function upsert<T extends { id: string }>(items: readonly T[], item: T, max: number): T[] {
  const place = items.findIndex(({ id }) => id === item.id)
  return place >= 0 ? items.with(place, item) : [item, ...items].slice(0, max)
}
