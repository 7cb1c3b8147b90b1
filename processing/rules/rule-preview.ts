import type { Anomaly } from '../../contracts/anomaly.ts'
import { authorise, type Principal } from '../../contracts/authorisation.ts'
import type { Device } from '../../contracts/device.ts'
import { matches } from '../../contracts/label-matcher.ts'
import type { OperatorOutput } from '../../contracts/operator.ts'
import type { LoggedReading } from '../../contracts/reading.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { AccessError, InvalidInputError } from '../../kernel/errors.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { nextTurn } from '../../kernel/time.ts'
import type { SeriesStore, StoredReading } from '../../storage/series/series-store.ts'
import type { WindowsConfig } from '../windows/config.ts'
import { WindowOperator } from '../windows/window-operator.ts'
import type { RulesConfig } from './config.ts'
import type { RuleSettings } from './rule.ts'
import { RuleOperator } from './rule-operator.ts'
import type { RulesService } from './rules-service.ts'

/** Occasions named one by one; all are counted. */
const FIRED_MAX = 100
const PAGE_READINGS = 5_000
/** Readings judged at a time: a pause of a few ms for everything else. */
const SLICE_READINGS = 1_000
const RULE_ID = 'preview'

/** One time that a rule would have been broken. */
export interface Fired {
  device: string
  /** Event time, epoch ms. */
  at: number
  /** When it was over; null: it still was broken at the end. */
  until: number | null
  text: string
}

export interface PreviewResult {
  fromTs: number
  toTs: number
  /** Devices looked at, and readings of them. */
  devices: number
  readings: number
  /** Not all devices or readings were looked at: a bound of section `rules` was reached. */
  truncated: boolean
  /** How often it would have been broken, and on how many devices. */
  count: number
  devicesFired: number
  /** The first hundred of these. */
  fired: Fired[]
}

export interface RulePreviewOptions {
  service: RulesService
  series: Pick<SeriesStore, 'range'>
  /** Devices of a tenant in order of their ids, a page at a time. */
  devicesOf: (tenant: string, after: string | undefined) => Promise<{ items: Device[]; next: string | null }>
  config: RulesConfig
  windows: WindowsConfig
}

/** What a rule would have said of stored readings: they go through the same operators as on the road. */
export class RulePreview {
  readonly #options: RulePreviewOptions

  constructor(options: RulePreviewOptions) {
    this.#options = options
  }

  /** AccessError, or InvalidInputError with the faults of a rule that cannot be. */
  async run(principal: Principal, settings: RuleSettings, { fromTs, toTs }: { fromTs: number; toTs: number }): Promise<PreviewResult> {
    const { tenant } = principal
    if (!authorise(principal, 'read', { tenant, kind: 'rules' })) throw new AccessError('FORBIDDEN', `${principal.id} may not read rules`)
    if (toTs <= fromTs) throw new InvalidInputError('to: must lie after from', { details: { field: 'to' } })
    this.#options.service.check(settings)
    const { devices, truncated: someDevices } = await this.#devicesFor(tenant, settings)
    const result: PreviewResult = { fromTs, toTs, devices: 0, readings: 0, truncated: someDevices, count: 0, devicesFired: 0, fired: [] }
    for (const device of devices) {
      const left = this.#options.config.previewReadingsMax - result.readings
      if (left <= 0) return { ...result, truncated: true }
      const { readings, truncated } = await this.#readingsOf(device, settings.metric, { fromTs, toTs, max: left })
      const fired = await this.#replay(device, settings, readings)
      result.devices++
      result.readings += readings.length
      result.truncated ||= truncated
      result.count += fired.length
      if (fired.length > 0) result.devicesFired++
      result.fired.push(...fired.slice(0, FIRED_MAX - result.fired.length))
    }
    return result
  }

  async #devicesFor(tenant: string, { matchers }: RuleSettings): Promise<{ devices: Device[]; truncated: boolean }> {
    const { devicesOf, config } = this.#options
    const devices: Device[] = []
    for (let after: string | undefined; ;) {
      const { items, next } = await devicesOf(tenant, after)
      for (const device of items) {
        if (!matches(matchers, { ...device.labels, device: device.id, type: device.type })) continue
        if (devices.length === config.previewDevicesMax) return { devices, truncated: true }
        devices.push(device)
      }
      if (next === null) return { devices, truncated: false }
      after = next
    }
  }

  /** The latest ones, in order of event time. */
  async #readingsOf(
    device: Device,
    metric: string,
    { fromTs, toTs, max }: { fromTs: number; toTs: number; max: number },
  ): Promise<{ readings: LoggedReading[]; truncated: boolean }> {
    const found: StoredReading[] = []
    for (let cursor: string | undefined; ;) {
      const limit = Math.min(PAGE_READINGS, max - found.length)
      const query = { tenant: device.tenant, device: device.id, metric, fromTs, toTs, limit }
      const { items, next } = await this.#options.series.range(cursor === undefined ? query : { ...query, cursor })
      found.push(...items)
      if (next === null || found.length >= max) return { readings: found.toReversed().map(loggedOf(device)), truncated: next !== null }
      cursor = next
    }
  }

  async #replay(device: Device, settings: RuleSettings, readings: readonly LoggedReading[]): Promise<Fired[]> {
    const metrics = new Metrics()
    const { windows: config, config: rulesConfig } = this.#options
    const now = { createdBy: '', createdAt: 0, updatedBy: '', updatedAt: 0 }
    const versions = [{ version: 1, activeFrom: -Infinity, settings: { ...settings, enabled: true } }]
    const rules = { generation: 1, of: () => [{ id: RULE_ID, tenant: device.tenant, state: 'kept' as const, versions, ...now }] }
    const windowOperator = new WindowOperator({ config, metrics })
    const operator = new RuleOperator({ rules, labelsOf: () => device.labels, config: rulesConfig, windows: config, metrics })
    const windowState = windowOperator.create(device.tenant, device.id)
    const state = operator.create(device.tenant, device.id, device.type)
    const fired: Fired[] = []
    const out: OperatorOutput = {
      emit: (topic, _schema, _tenant, _device, value) => {
        operator.observe(state, topic, value)
        if (topic === TOPICS.anomalies) note(fired, value as Anomaly)
      },
    }
    for (let from = 0; from < readings.length; from += SLICE_READINGS) {
      for (const reading of readings.slice(from, from + SLICE_READINGS)) {
        if (settings.on.kind === 'windows') windowOperator.apply(windowState, reading, out)
        operator.apply(state, reading, out)
      }
      // Acknowledgements of devices must not wait for a preview.
      await nextTurn()
    }
    return fired
  }
}

function note(fired: Fired[], { device, ts, phase, retracted, explanation }: Anomaly): void {
  const last = fired.at(-1)
  if (phase === 'raised' && last?.until !== null) fired.push({ device, at: ts, until: null, text: explanation.text })
  else if (phase === 'cleared' && retracted === true) fired.pop()
  else if (phase === 'cleared' && last !== undefined) last.until = ts
}

function loggedOf({ tenant }: Device): (reading: StoredReading, index: number) => LoggedReading {
  return ({ device, type, ts, receivedAt, values }, offset) => {
    return { tenant, device, type, ts, receivedAt, values, correlationId: RULE_ID, partition: 0, offset }
  }
}
