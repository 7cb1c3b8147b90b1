import { LimitError, StoreError } from '../../kernel/errors.ts'
import type { MetricKind } from '../../contracts/device.ts'
import type { CatalogueEntry } from './questdb-catalogue-entry.ts'
import { columnName, tableName } from './questdb-names.ts'
import type { QuestdbTables } from './questdb-tables.ts'

/** A metric of a device type and the column that holds it. */
export interface MetricColumn {
  readonly metric: string
  /** Name made in questdb-names.ts: needs no quotes. */
  readonly column: string
  readonly kind: MetricKind
}

/** The wide table of a tenant's device type; replaced, not changed, when a metric is added. */
export interface TypeTable {
  readonly name: string
  readonly tenant: string
  readonly type: string
  readonly metrics: ReadonlyMap<string, MetricColumn>
}

/**
 * Which types and metrics are stored where: kept in a table of QuestDB that every process adds to, mirrored here.
 * A column is there before its entry, and the entry before the first row: what the catalogue says can be read.
 */
export class Catalogue {
  readonly #prefix: string
  readonly #columnsMax: number
  readonly #byTenant = new Map<string, Map<string, TypeTable>>()
  /** Whose a name is, to notice two that would share it. */
  readonly #owners = new Map<string, string>()

  constructor(prefix: string, columnsMax: number) {
    this.#prefix = prefix
    this.#columnsMax = columnsMax
  }

  table(tenant: string, type: string): TypeTable | undefined {
    return this.#byTenant.get(tenant)?.get(type)
  }
  tablesOf(tenant: string): TypeTable[] {
    return [...(this.#byTenant.get(tenant)?.values() ?? [])]
  }
  tables(): TypeTable[] {
    return [...this.#byTenant.values()].flatMap((types) => [...types.values()])
  }

  /** Takes entries in, those known already too. StoreError when two names share a table or column, or a name is not one made here. */
  add(entries: readonly CatalogueEntry[]): void {
    const changed = new Map<string, TypeTable & { metrics: Map<string, MetricColumn> }>()
    for (const { table, column, tenant, type, metric, kind } of entries) {
      if (table !== tableName(this.#prefix, tenant, type) || (column !== '' && column !== columnName(metric)))
        throw foreignName(table, column)
      this.#claim(table, `${tenant}/${type}`)
      if (column !== '') this.#claim(`${table}/${column}`, metric)
      const known = changed.get(table) ?? { name: table, tenant, type, metrics: new Map(this.table(tenant, type)?.metrics) }
      changed.set(table, known)
      if (column !== '') known.metrics.set(metric, { metric, column, kind })
    }
    for (const table of changed.values()) {
      const types = this.#byTenant.get(table.tenant) ?? new Map<string, TypeTable>()
      this.#byTenant.set(table.tenant, types.set(table.type, table))
    }
  }

  /** Makes the type's table and the metrics' columns where they are missing. LimitError, naming the metric, beyond `columnsMax`. */
  async extend(tables: QuestdbTables, tenant: string, type: string, wanted: ReadonlyMap<string, MetricKind>): Promise<void> {
    const known = this.table(tenant, type)
    const table = known?.name ?? tableName(this.#prefix, tenant, type)
    const missing = new Map([...wanted].filter(([metric]) => !known?.metrics.has(metric)))
    let columns = known?.metrics.size ?? 0
    for (const metric of missing.keys()) if (++columns > this.#columnsMax) throw this.#tooManyColumns(type, metric)
    const entry = (metric: string, kind: MetricKind): CatalogueEntry => ({ table, column: columnName(metric), tenant, type, metric, kind })
    const entries = [...missing].map(([metric, kind]) => entry(metric, kind))
    for (const { column, metric } of entries) this.#claim(`${table}/${column}`, metric)
    this.#claim(table, `${tenant}/${type}`)
    if (known === undefined) await tables.create(table, entries)
    // Another process may have made a column at the same time, for another kind: what is there counts.
    const made = await tables.addColumns(table, entries)
    const own: CatalogueEntry[] = known === undefined ? [{ table, column: '', tenant, type, metric: '', kind: 'number' }] : []
    const added = [...own, ...made]
    await tables.remember(added)
    this.add(added)
  }

  #claim(name: string, owner: string): void {
    const holder = this.#owners.get(name) ?? owner
    if (holder === owner) this.#owners.set(name, owner)
    else {
      throw new StoreError('STORE_CORRUPT', `${JSON.stringify(owner)} and ${JSON.stringify(holder)} would share ${name} in QuestDB`, {
        remedy: 'Rename one of them.',
      })
    }
  }

  #tooManyColumns(type: string, metric: string): LimitError {
    return new LimitError(
      `device type ${type} has ${this.#columnsMax} metric columns (questdb.columnsMax): no room for metric ${JSON.stringify(metric)}`,
      {
        retryable: false,
        remedy: 'Raise questdb.columnsMax and restart, or give these devices a type of their own. The reading waits in the event log.',
        details: { type, metric, columnsMax: this.#columnsMax },
      },
    )
  }
}

/** Names from the catalogue become part of statements: only those made in questdb-names.ts may. */
function foreignName(table: string, column: string): StoreError {
  return new StoreError(
    'STORE_CORRUPT',
    `the catalogue in QuestDB holds a name that is not ours: ${JSON.stringify(`${table}.${column}`)}`,
    {
      remedy: 'Restore the catalogue table from a backup, or use another questdb.tablePrefix.',
    },
  )
}
