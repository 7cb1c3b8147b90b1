import { GENERIC_TYPE, isDeviceId, type Device, type DeviceState } from '../../contracts/device.ts'
import type { Actor } from '../../contracts/registrar.ts'
import { ConflictError, FleetpulseError, InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { checkLabels } from '../checks.ts'
import { registryConfig, type RegistryConfig } from '../config.ts'
import type { Registry } from '../registry.ts'
import { readCsvRows, type ImportRow, type ReadRow } from './csv-rows.ts'

export interface DeviceImportOptions {
  registry: Registry
  log: Logger
  registryConfig?: RegistryConfig
}

/**
 * What became of a row, or would, in a dry run. `created`: a new device; `changed`: its labels differ from the file's; `unchanged`: all is
 * as the file says; `failed`: why, and in which field.
 */
export type RowOutcome =
  | { line: number; id: string; status: 'created' | 'changed' | 'unchanged'; state: DeviceState }
  | { line: number; id: string; status: 'failed'; field: string; problem: string }

export interface ImportOutcome {
  dryRun: boolean
  summary: Record<RowOutcome['status'], number>
  /** In order of the file. */
  rows: RowOutcome[]
}

export interface ImportRequest {
  tenant: string
  dryRun: boolean
  by: Actor
}

/**
 * Devices from a CSV file. The whole file is read before anything is changed, so that one that cannot be read changes nothing; then each row
 * stands for itself. The same file again changes nothing.
 */
export class DeviceImport {
  readonly #options: DeviceImportOptions
  readonly #config: RegistryConfig

  constructor(options: DeviceImportOptions) {
    this.#options = options
    this.#config = options.registryConfig ?? registryConfig()
  }

  /** Throws InvalidInputError for a file that is not one; what is wrong with a row is in its outcome. */
  async run(source: AsyncIterable<Uint8Array>, request: ImportRequest): Promise<ImportOutcome> {
    const { importBytesMax, importRowsMax, labelsMax } = this.#config
    const rows = await readCsvRows(source, { bytesMax: importBytesMax, rowsMax: importRowsMax, labelsMax })
    const types = new Set((await this.#options.registry.listTypes(request.tenant)).map(({ id }) => id))
    const outcomes = await this.#inTurn(rows, (row) => this.#take(row, types, request))
    const summary = { created: 0, changed: 0, unchanged: 0, failed: 0 }
    for (const { status } of outcomes) summary[status]++
    this.#options.log.info({ ...request, ...summary }, 'devices imported')
    return { dryRun: request.dryRun, summary, rows: outcomes }
  }

  /** Several at once, so that they share the store's commits. */
  async #inTurn(rows: readonly ReadRow[], work: (row: ReadRow) => Promise<RowOutcome>): Promise<RowOutcome[]> {
    const outcomes: RowOutcome[] = []
    const queue = rows.entries()
    const worker = async (): Promise<void> => {
      for (const [i, row] of queue) outcomes[i] = await work(row)
    }
    await Promise.all(Array.from({ length: this.#config.importRowsInFlightMax }, worker))
    return outcomes
  }

  async #take(read: ReadRow, types: ReadonlySet<string>, request: ImportRequest): Promise<RowOutcome> {
    if (read.status === 'faulty') return { ...read.row, status: 'failed' }
    const { line, id } = read.row
    try {
      this.#check(read.row, types)
      for (;;) {
        const outcome = await this.#apply(read.row, request)
        if (outcome !== undefined) return outcome
      }
    } catch (error) {
      // The caller's: about this row. Anything else is about the platform, and ends the import.
      if (!(error instanceof FleetpulseError) || error.fault !== 'caller') throw error
      const field = typeof error.details.field === 'string' ? error.details.field : 'id'
      return { line, id: id.slice(0, 64), status: 'failed', field, problem: error.message }
    }
  }

  #check({ id, type, labels }: ImportRow, types: ReadonlySet<string>): void {
    if (!isDeviceId(id)) {
      throw invalid(
        'id',
        `"${id.slice(0, 64)}" is not a device id; allowed: 1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first`,
      )
    }
    if (type !== undefined && !types.has(type)) throw invalid('type', `there is no device type "${type.slice(0, 64)}"`)
    checkLabels(present(labels), this.#config.labelsMax)
  }

  /** Undefined when somebody else was faster: then the row is looked at again. */
  async #apply({ line, id, type, labels }: ImportRow, { tenant, dryRun, by }: ImportRequest): Promise<RowOutcome | undefined> {
    const { registry } = this.#options
    const found = await registry.findDevice(tenant, id)
    if (found === undefined) {
      if (dryRun) return { line, id, status: 'created', state: 'registered' }
      const created = await unlessRaced(registry.createDevice(tenant, { id, type: type ?? GENERIC_TYPE, labels: present(labels) }, by))
      return created === undefined ? undefined : { line, id, status: 'created', state: created.state }
    }
    const { state } = found
    if (state === 'decommissioning' || state === 'decommissioned')
      throw invalid('id', `the device is ${state} and cannot come back under this id`)
    if (type !== undefined && type !== found.type) throw invalid('type', `the device exists and is of type "${found.type}"`)
    const wanted = merged(found, labels)
    if (wanted === undefined) return { line, id, status: 'unchanged', state }
    checkLabels(wanted, this.#config.labelsMax)
    if (!dryRun) await registry.updateDevice(tenant, id, { labels: wanted }, undefined)
    return { line, id, status: 'changed', state }
  }
}

/** Labels of which the file says nothing stay; undefined when the device has all that it says. */
function merged(device: Device, labels: ImportRow['labels']): Record<string, string> | undefined {
  const isSo = Object.entries(labels).every(([name, value]) => (device.labels[name] ?? null) === value)
  return isSo ? undefined : present({ ...device.labels, ...labels })
}

function present(labels: ImportRow['labels']): Record<string, string> {
  return Object.fromEntries(Object.entries(labels).filter((entry): entry is [string, string] => entry[1] !== null))
}

async function unlessRaced<T>(creating: Promise<T>): Promise<T | undefined> {
  try {
    return await creating
  } catch (error) {
    if (error instanceof ConflictError) return undefined
    throw error
  }
}

function invalid(field: string, problem: string): InvalidInputError {
  return new InvalidInputError(problem, { details: { field } })
}
