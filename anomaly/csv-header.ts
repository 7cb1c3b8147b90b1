import { InvalidInputError } from '../kernel/errors.ts'
import { cellsOf } from './csv-lines.ts'
import { parseTimestamp } from './csv-timestamp.ts'

/** Name of the column that scoring adds. */
export const SCORE_COLUMN = 'anomaly_score'
const TIMESTAMP_NAMES = ['timestamp', 'datetime', 'time', 'ts', 'date']
/** Columns that say what is to be found: never looked at. */
const ANSWER_NAMES = ['label', 'labels', 'anomaly', 'is_anomaly', 'changepoint', 'change_point']

/** Which column is what. */
export interface CsvLayout {
  separator: ',' | ';'
  columns: number
  timestampColumn: number
  metricColumns: number[]
}

/** Reads the header line. Throws InvalidInputError, naming file and line, when there is none or it cannot be used. */
export function readHeader(text: string, name: string): CsvLayout {
  const plainText = text.replace(/^\uFEFF/, '')
  const separator = plainText.includes(';') ? ';' : ','
  const names = cellsOf(plainText, separator).map((cell) => cell.trim().toLowerCase())
  const timestampColumn = names.findIndex((column) => TIMESTAMP_NAMES.includes(column))
  if (timestampColumn === -1) {
    const first = names[0] ?? ''
    const problem =
      parseTimestamp(first) === undefined ? `the header has no column named ${TIMESTAMP_NAMES.join(', ')}` : 'there is no header line'
    throw new InvalidInputError(`${name}:1: ${problem}`, { remedy: 'Begin the file with a header such as "timestamp,value".' })
  }
  if (names.includes(SCORE_COLUMN)) {
    throw new InvalidInputError(`${name}:1: there is a column ${SCORE_COLUMN} already`, { remedy: 'Give the file without scores.' })
  }
  const metricColumns = names.flatMap((column, index) => (index === timestampColumn || ANSWER_NAMES.includes(column) ? [] : [index]))
  if (metricColumns.length === 0) {
    throw new InvalidInputError(`${name}:1: there is no column of values beside the timestamp`, { remedy: 'Give one column per metric.' })
  }
  return { separator, columns: names.length, timestampColumn, metricColumns }
}
