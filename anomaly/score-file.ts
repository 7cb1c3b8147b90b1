import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import { readHeader, SCORE_COLUMN, type CsvLayout } from './csv-header.ts'
import { cellsOf, linesOf } from './csv-lines.ts'
import { parseTimestamp } from './csv-timestamp.ts'
import { EnsembleDetector } from './ensemble/ensemble-detector.ts'
import type { EnsembleState } from './ensemble/ensemble-state.ts'
import { JointModel, TRAIN_ROWS_MIN } from './joint/joint-model.ts'

export interface ScoreCsvOptions {
  /** What error messages call the input: its path. */
  name: string
  /** The first rows, known to be normal: they are learnt and score 0; several metrics are then scored by one joint model. Default 0. */
  trainRows?: number
}

const SCORE_DECIMALS = 6

/**
 * Scores a CSV text with exactly the online detector, row by row, as it comes: yields the same lines with `anomaly_score` added.
 * - Header required; columns separated by `,` or `;`; a timestamp column (`timestamp`, `datetime`, `time`, `ts`, `date`) and one column
 *   per metric. Columns that hold the answer (`label`, `anomaly`, `changepoint`, …) are kept and never read.
 * - Each metric has a detector of its own; the row's score is the largest of theirs. With at least `TRAIN_ROWS_MIN` training rows and
 *   several metrics, one joint model of them all, learnt from those rows, scores the rest.
 * - A cell that is not a finite number (empty, text, NaN, infinity) scores 0 for its metric and teaches it nothing.
 * - Duplicated and unordered timestamps are accepted: rows count in the order of the file. Blank lines pass through, unscored.
 * Throws InvalidInputError, naming file and line, on a missing header, an unreadable timestamp, or a row of another width.
 */
export async function* scoreCsv(input: AsyncIterable<string | Uint8Array>, options: ScoreCsvOptions): AsyncGenerator<string> {
  const detector = new EnsembleDetector()
  const trainRows = options.trainRows ?? 0
  let layout: CsvLayout | undefined
  let states: EnsembleState[] = []
  let line = 0
  let rows = 0
  let joint: JointModel | undefined
  for await (const { text, ending } of linesOf(input, options.name)) {
    line++
    if (layout === undefined) {
      layout = readHeader(text, options.name)
      states = layout.metricColumns.map(() => detector.create())
      const metrics = layout.metricColumns.length
      if (metrics > 1 && trainRows >= TRAIN_ROWS_MIN) joint = new JointModel({ metrics, trainRows })
      yield `${text}${layout.separator}${SCORE_COLUMN}${ending}`
    } else if (text.trim() === '') {
      yield text + ending
    } else {
      const { tsMs, values } = readRow(layout, text, `${options.name}:${line}`)
      const score = joint === undefined ? scoreApart(detector, states, values, tsMs) : joint.next(values)
      yield `${text}${layout.separator}${(rows++ < trainRows ? 0 : score).toFixed(SCORE_DECIMALS)}${ending}`
    }
  }
  if (layout === undefined)
    throw new InvalidInputError(`${options.name}:1: the file is empty`, {
      remedy: 'Begin the file with a header such as "timestamp,value".',
    })
}

function readRow(layout: CsvLayout, text: string, place: string): { tsMs: number; values: number[] } {
  const cells = cellsOf(text, layout.separator)
  if (cells.length !== layout.columns) {
    throw new InvalidInputError(`${place}: the row has ${cells.length} cells, the header ${layout.columns}`, {
      remedy: 'Correct this row.',
    })
  }
  const tsText = cells[layout.timestampColumn] ?? ''
  const tsMs = parseTimestamp(tsText)
  if (tsMs === undefined) {
    throw new InvalidInputError(`${place}: "${tsText}" is not a timestamp`, {
      remedy: 'Use YYYY-MM-DD HH:MM:SS, ISO 8601, epoch seconds or epoch milliseconds.',
    })
  }
  return { tsMs, values: layout.metricColumns.map((column) => numberOf(cells[column] ?? '')) }
}

function scoreApart(detector: EnsembleDetector, states: readonly EnsembleState[], values: readonly number[], tsMs: number): number {
  let highest = 0
  for (const [index, state] of states.entries()) {
    const value = values[index] ?? Number.NaN
    if (!Number.isFinite(value)) continue
    highest = Math.max(highest, detector.score(state, value, tsMs))
    detector.learn(state, value, tsMs)
  }
  return highest
}

function numberOf(cell: string): number {
  return cell.trim() === '' ? Number.NaN : Number(cell)
}

export interface ScoreDirectoryOptions {
  inDir: string
  /** Made when missing; files of the same relative path are replaced. May not be `inDir` nor inside it. */
  outDir: string
  trainRows?: number
  /** Told after each file. */
  onProgress?: (progress: { file: string; filesDone: number; filesTotal: number }) => void
}

/**
 * Scores every `*.csv` under a folder into files of the same relative paths, in order of their names; each appears whole or not at all.
 * Answers how many. Throws NotFoundError when there is none, InvalidInputError when a file cannot be scored or the folders overlap.
 */
export async function scoreDirectory(options: ScoreDirectoryOptions): Promise<{ files: number }> {
  const inDir = resolve(options.inDir)
  const outDir = resolve(options.outDir)
  if (`${outDir}/`.startsWith(`${inDir}/`)) {
    throw new InvalidInputError('the output folder is the input folder, or inside it', { remedy: 'Give another folder with --out.' })
  }
  const files = await csvFilesUnder(inDir)
  if (files.length === 0)
    throw new NotFoundError(`there is no .csv file under ${options.inDir}`, { remedy: 'Give a folder that holds CSV files with --in.' })
  for (const [index, file] of files.entries()) {
    await scoreFile(join(inDir, file), join(outDir, file), {
      name: file,
      ...(options.trainRows === undefined ? {} : { trainRows: options.trainRows }),
    })
    options.onProgress?.({ file, filesDone: index + 1, filesTotal: files.length })
  }
  return { files: files.length }
}

async function scoreFile(from: string, to: string, options: ScoreCsvOptions): Promise<void> {
  const partial = `${to}.partial`
  await mkdir(dirname(to), { recursive: true })
  try {
    await pipeline(createReadStream(from), (input: AsyncIterable<Uint8Array>) => scoreCsv(input, options), createWriteStream(partial))
    await rename(partial, to)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

async function csvFilesUnder(dir: string): Promise<string[]> {
  try {
    const entries = await readdir(dir, { recursive: true, withFileTypes: true })
    const paths = entries
      .filter((entry) => entry.isFile() && entry.name.endsWith('.csv'))
      .map((entry) => join(entry.parentPath, entry.name))
    return paths.map((path) => path.slice(dir.length + 1)).sort()
  } catch (cause) {
    throw new NotFoundError(`the folder ${dir} cannot be read`, { cause, remedy: 'Give a folder that holds CSV files with --in.' })
  }
}
