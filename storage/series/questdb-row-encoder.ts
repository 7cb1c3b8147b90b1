import { InternalError, InvalidInputError } from '../../kernel/errors.ts'
import type { MetricKind } from '../../contracts/device.ts'
import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import type { Catalogue, TypeTable } from './questdb-catalogue.ts'
import { LineBuffer } from './questdb-lines.ts'

const PARTITIONS_MAX = 65_536
/** Up to here offset and partition together are a safe integer. */
const SAFE_OFFSET_MAX = 2 ** 37

const prepared = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'))
const BOOT = prepared('boot=')
const SEQ = prepared('seq=')
const UNNUMBERED = prepared('unnumbered=')
const RECEIVED_AT = prepared(',received_at=')
const LOG_PARTITION = prepared(',log_partition=')
const LOG_OFFSET = prepared(',log_offset=')
const COMMA = prepared(',')
const SPACE = prepared(' ')

interface PreparedMetric {
  /** `,column=` */
  readonly name: Uint8Array
  readonly kind: MetricKind
}

interface PreparedTable {
  readonly table: TypeTable
  /** `table,device=` */
  readonly begin: Uint8Array
  readonly metrics: ReadonlyMap<string, PreparedMetric>
}

/** Turns readings into lines. The hot path of the whole store: one pass, no allocation per reading. */
export class RowEncoder {
  readonly #catalogue: Catalogue
  readonly #lines: LineBuffer
  readonly #bytesMax: number
  /** Goes with its table, which is another one after each new metric. */
  readonly #prepared = new WeakMap<TypeTable, PreparedTable>()

  constructor(catalogue: Catalogue, bytesMax: number) {
    this.#catalogue = catalogue
    this.#bytesMax = bytesMax
    this.#lines = new LineBuffer(bytesMax)
  }

  /** The lines of the last `encode`; valid until the next. */
  get written(): Uint8Array {
    return this.#lines.written
  }

  /**
   * Encodes rows from number `from` on until the bound; returns the number of the first that is not in it.
   * 'incomplete' when one of them has a type or metric without table or column yet.
   * InvalidInputError METRIC_KIND_CHANGED for a value of another kind than its column.
   */
  encode(rows: readonly LoggedReading[], from: number): number | 'incomplete' {
    const lines = this.#lines
    lines.clear()
    let into: PreparedTable | undefined
    let next = from
    for (; next < rows.length && lines.length < this.#bytesMax; next++) {
      const row = rows[next] as LoggedReading
      if (into === undefined || row.type !== into.table.type || row.tenant !== into.table.tenant) {
        into = this.#prepare(row)
        if (into === undefined) return 'incomplete'
      }
      const before = lines.length
      if (this.#put(row, into)) continue
      lines.cutTo(before)
      return 'incomplete'
    }
    return next
  }

  #put(row: LoggedReading, into: PreparedTable): boolean {
    const lines = this.#lines
    lines.putBytes(into.begin)
    lines.putSymbol(row.device)
    lines.putBytes(SPACE)
    if (row.boot !== undefined) {
      lines.putBytes(BOOT)
      lines.putText(row.boot)
      lines.putBytes(COMMA)
    }
    if (row.seq === undefined) this.#putUnnumbered(row)
    else {
      lines.putBytes(SEQ)
      lines.putInteger(row.seq)
    }
    lines.putBytes(RECEIVED_AT)
    lines.putTime(row.receivedAt)
    lines.putBytes(LOG_PARTITION)
    lines.putInteger(row.partition)
    lines.putBytes(LOG_OFFSET)
    lines.putInteger(row.offset)
    const { values } = row
    for (const metric in values) {
      const column = into.metrics.get(metric)
      if (column === undefined) return false
      lines.putBytes(column.name)
      const value = values[metric] as MetricValue
      if (typeof value !== column.kind) throw kindChanged(row, metric, column.kind)
      if (typeof value === 'number') lines.putDouble(value)
      else if (typeof value === 'string') lines.putText(value)
      else lines.putBoolean(value)
    }
    lines.putBytes(SPACE)
    lines.putTime(row.ts)
    lines.endLine()
    return true
  }

  /** The place in the log, in the key instead of a sequence number: several readings without one may have one instant. */
  #putUnnumbered({ offset, partition }: LoggedReading): void {
    if (partition >= PARTITIONS_MAX) throw new InternalError(`partition ${partition} does not fit into the key of a reading`)
    this.#lines.putBytes(UNNUMBERED)
    if (offset < SAFE_OFFSET_MAX) this.#lines.putInteger(offset * PARTITIONS_MAX + partition)
    else this.#lines.putLong(String(BigInt(offset) * BigInt(PARTITIONS_MAX) + BigInt(partition)))
  }

  #prepare({ tenant, type }: LoggedReading): PreparedTable | undefined {
    const table = this.#catalogue.table(tenant, type)
    if (table === undefined) return undefined
    const known = this.#prepared.get(table)
    if (known !== undefined) return known
    const metrics = new Map<string, PreparedMetric>()
    for (const { metric, column, kind } of table.metrics.values()) metrics.set(metric, { name: prepared(`,${column}=`), kind })
    const made = { table, begin: prepared(`${table.name},device=`), metrics }
    this.#prepared.set(table, made)
    return made
  }
}

/** The types and metrics in these rows that have no table or column yet, with the kind first seen. */
export function missingMetrics(
  rows: readonly LoggedReading[],
  catalogue: Catalogue,
): { tenant: string; type: string; metrics: Map<string, MetricKind> }[] {
  const missing = new Map<string, { tenant: string; type: string; metrics: Map<string, MetricKind> }>()
  for (const { tenant, type, values } of rows) {
    const table = catalogue.table(tenant, type)
    const key = `${tenant}/${type}`
    let wanted = missing.get(key)
    if (table === undefined && wanted === undefined) missing.set(key, (wanted = { tenant, type, metrics: new Map() }))
    for (const metric in values) {
      if (table?.metrics.has(metric) === true) continue
      if (wanted === undefined) missing.set(key, (wanted = { tenant, type, metrics: new Map() }))
      if (!wanted.metrics.has(metric)) wanted.metrics.set(metric, typeof values[metric] as MetricKind)
    }
  }
  return [...missing.values()]
}

function kindChanged({ device, type, partition, offset }: LoggedReading, metric: string, kind: MetricKind): InvalidInputError {
  return new InvalidInputError(
    `metric ${JSON.stringify(metric)} of type ${type} holds values of kind ${kind}, device ${device} sent another`,
    {
      code: 'METRIC_KIND_CHANGED',
      remedy: 'Rename the metric, or give the device a type of its own.',
      details: { type, metric, kind, device, partition, offset },
    },
  )
}
