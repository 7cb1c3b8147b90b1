import { CsvError, parse, type Info } from 'csv-parse'
import { pipeline } from 'node:stream/promises'
import { InvalidInputError } from '../../kernel/errors.ts'

/** One device of a file; `line` counts from 1, the header being line 1 where nothing stands before it. */
export interface ImportRow {
  line: number
  id: string
  /** Undefined where the file does not say. */
  type: string | undefined
  /** Labels that the file speaks of; null: the device shall not have it. */
  labels: Record<string, string | null>
}

/** A row that cannot be one; the others are not concerned. */
export interface FaultyRow {
  line: number
  id: string
  field: string
  problem: string
}

export type ReadRow = { status: 'read'; row: ImportRow } | { status: 'faulty'; row: FaultyRow }

export interface CsvLimits {
  bytesMax: number
  rowsMax: number
  /** Label columns. */
  labelsMax: number
}

/** Bytes of one row: an id, a type, and some dozens of labels with their longest values fit many times. */
const ROW_BYTES_MAX = 65_536
const LABEL_PREFIX = /^labels?\./
const LABEL_NAME_CHARS_MAX = 64

/**
 * Reads a file of devices (RFC 4180, UTF-8, a byte order mark allowed): a header with `id`, `type` (may be missing) and one column per
 * label, then a row per device. The source is read as it comes and no further than its bounds. Throws InvalidInputError, which names the
 * line, for what concerns the whole file; rows with faults of their own are answered as such.
 */
export async function readCsvRows(source: AsyncIterable<Uint8Array>, limits: CsvLimits): Promise<ReadRow[]> {
  const rows: ReadRow[] = []
  let header: Header | undefined
  const seen = new Map<string, number>()
  const parser = parse({ bom: true, info: true, relax_column_count: true, skip_empty_lines: true, max_record_size: ROW_BYTES_MAX })
  const take = async (records: AsyncIterable<{ record: string[]; info: Info }>): Promise<void> => {
    for await (const { record, info } of records) {
      if (header === undefined) {
        header = headerOf(record, limits.labelsMax)
        continue
      }
      if (rows.length >= limits.rowsMax)
        throw fault(`the file has more than ${limits.rowsMax} rows (registry.importRowsMax); import it in parts`)
      rows.push(rowOf(record, info.lines, header, seen))
    }
  }
  try {
    await pipeline(texts(source, limits.bytesMax), parser, take)
  } catch (error) {
    if (error instanceof CsvError) {
      const line = typeof error.lines === 'number' ? `line ${error.lines}: ` : ''
      throw fault(`${line}not CSV (RFC 4180): ${error.message}`, error)
    }
    throw error
  }
  if (header === undefined) throw fault('the file is empty; its first line must name the columns: id, type, and one for each label')
  return rows
}

/** Bounded, and UTF-8 to the last byte. */
async function* texts(source: AsyncIterable<Uint8Array>, bytesMax: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let sizeBytes = 0
  try {
    for await (const chunk of source) {
      sizeBytes += chunk.byteLength
      if (sizeBytes > bytesMax) throw fault(`the file has more than ${bytesMax} bytes (registry.importBytesMax); import it in parts`)
      yield decoder.decode(chunk, { stream: true })
    }
    yield decoder.decode()
  } catch (error) {
    if (error instanceof TypeError) throw fault('the file is not UTF-8 text', error)
    throw error
  }
}

interface Header {
  columns: string[]
  /** Label of each column; undefined for `id` and `type`. */
  labels: (string | undefined)[]
}

function headerOf(record: readonly string[], labelsMax: number): Header {
  const columns = record.map((name) => name.trim())
  if (!columns.includes('id')) throw fault(`line 1: there is no column "id"; it names: ${columns.join(', ').slice(0, 200)}`)
  const twice = columns.find((name, i) => columns.indexOf(name) !== i)
  if (twice !== undefined) throw fault(`line 1: column "${twice.slice(0, 64)}" is there twice`)
  const labels = columns.map((name) => (name === 'id' || name === 'type' ? undefined : name.replace(LABEL_PREFIX, '')))
  const named = labels.filter((label) => label !== undefined)
  if (named.length > labelsMax) throw fault(`line 1: ${named.length} columns of labels, allowed are ${labelsMax} (registry.labelsMax)`)
  const wrong = named.find((label, i) => label === '' || label.length > LABEL_NAME_CHARS_MAX || named.indexOf(label) !== i)
  if (wrong !== undefined)
    throw fault(`line 1: "${wrong.slice(0, 64)}" cannot be a label: 1 to ${LABEL_NAME_CHARS_MAX} characters, each once`)
  return { columns, labels }
}

function rowOf(record: readonly string[], line: number, header: Header, seen: Map<string, number>): ReadRow {
  const id = (record[header.columns.indexOf('id')] ?? '').trim()
  const faulty = (field: string, problem: string): ReadRow => ({ status: 'faulty', row: { line, id: id.slice(0, 64), field, problem } })
  if (record.length !== header.columns.length)
    return faulty('row', `it has ${record.length} cells, the header has ${header.columns.length}`)
  const earlier = seen.get(id)
  if (earlier !== undefined) return faulty('id', `the device is in line ${earlier} already`)
  seen.set(id, line)
  const type = record[header.columns.indexOf('type')]?.trim() ?? ''
  const cells = header.labels.flatMap((label, i) => (label === undefined ? [] : [[label, record[i] === '' ? null : (record[i] as string)]]))
  return {
    status: 'read',
    row: { line, id, type: type === '' ? undefined : type, labels: Object.fromEntries(cells) as ImportRow['labels'] },
  }
}

function fault(message: string, cause?: unknown): InvalidInputError {
  return new InvalidInputError(message, { details: { field: 'file' }, ...(cause === undefined ? {} : { cause }) })
}
