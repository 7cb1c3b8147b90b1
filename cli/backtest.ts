import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { compareDetectors, replayPast, type DetectorReport, type Estimate, type LabelledPast, type Outcome } from '../anomaly/backtest.ts'
import { detectorByVersion } from '../anomaly/detectors-by-version.ts'
import { InvalidInputError, NotFoundError } from '../kernel/errors.ts'
import { parseRecordedTime, parseSeries } from '../simulators/recorded-series.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { instant, positiveNumber } from './options.ts'
import { progressBar } from './progress.ts'

interface BacktestOptions extends PlatformOptions {
  detector: string[]
  in?: string
  labels?: string
  device?: string
  from?: number
  to?: number
  threshold: number
  json?: boolean
}

/** The threshold at which a score is worth an anomaly by default (`anomaly.alertThreshold`). */
const THRESHOLD = 0.65
const PAGE_READINGS = 1_000
/** Readings of a device that are looked at, newest first: bounds memory. */
const READINGS_MAX = 1_000_000

export function backtestCommand(): Command {
  return new Command('backtest')
    .description('Run detectors over the past, as they would have run live, and set them side by side')
    .option('--detector <name@version>', 'detector, repeatable; the others are compared with the first', collect, [])
    .option('--in <dir>', 'folder of CSV files: timestamp,value or timestamp,metric1,metric2,…')
    .option('--labels <file>', 'JSON: {"path in the folder.csv": [["from", "to"], …], …}, the times known to be abnormal')
    .option('--device <id>', 'device of the running platform, instead of files')
    .option('--from <time>', 'first event time of its readings: epoch ms or RFC 3339', instant)
    .option('--to <time>', 'last event time of its readings', instant)
    .option('--threshold <score>', 'score that counts as an event, above 0 to 1', positiveNumber(1), THRESHOLD)
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', 'origin of its API, instead of looking into the data folder')
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExamples:\n  fleetpulse backtest --detector robust-online@1 --detector ensemble@1 --in recordings --labels windows.json\n  fleetpulse backtest --detector ensemble@1 --device pump-1 --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z\n')
    .action(backtest)
}

function collect(value: string, before: string[]): string[] {
  return [...before, value]
}

async function backtest(options: BacktestOptions): Promise<void> {
  if ((options.in === undefined) === (options.device === undefined)) throw new InvalidInputError('name either a folder with --in or a device with --device')
  const names = options.detector.length === 0 ? ['robust-online', 'ensemble'] : options.detector
  for (const name of names) detectorByVersion(name)
  const pasts = options.in === undefined ? await pastsOfDevice(options) : await pastsOfFolder(options.in, options.labels)
  const outcomes = new Map<string, Outcome[]>()
  const bar = progressBar(options.json !== true)
  try {
    for (const [at, name] of names.entries()) {
      const detector = detectorByVersion(name)
      const own = pasts.map((past, k) => {
        bar.update(past.name, at * pasts.length + k, names.length * pasts.length)
        return replayPast(detector, past, options.threshold)
      })
      outcomes.set(`${name.split('@')[0] ?? name}@${detector.version}`, own)
    }
  } finally {
    bar.stop()
  }
  const detectors = compareDetectors(outcomes)
  process.stdout.write(options.json === true ? `${JSON.stringify({ series: pasts.length, threshold: options.threshold, detectors })}\n` : table(pasts.length, detectors))
}

async function pastsOfFolder(dir: string, labelsFile: string | undefined): Promise<LabelledPast[]> {
  const labels = labelsFile === undefined ? undefined : readLabels(labelsFile)
  const pasts: LabelledPast[] = []
  for (const file of await csvFiles(dir)) {
    const rows = parseSeries(readFileSync(join(dir, file), 'utf8'), file, undefined)
    const windows = labels?.get(file)
    for (const metric of new Set(rows.flatMap((row) => Object.keys(row.values)))) {
      const own = rows.filter((row) => metric in row.values)
      pasts.push({ name: `${file} ${metric}`, tsMs: own.map((row) => row.ts), values: own.map((row) => row.values[metric] ?? 0), ...(windows === undefined ? {} : { windows }) })
    }
  }
  if (pasts.length === 0) throw new NotFoundError(`there is no .csv file under ${dir}`)
  return pasts
}

async function csvFiles(dir: string): Promise<string[]> {
  try {
    return (await readdir(dir, { recursive: true })).filter((file) => file.endsWith('.csv')).sort()
  } catch (cause) {
    throw new NotFoundError(`the folder ${dir} cannot be read`, { cause, remedy: 'Give a folder that holds CSV files with --in.' })
  }
}

function readLabels(file: string): Map<string, [number, number][]> {
  const wrong = (detail: string, cause?: unknown): InvalidInputError =>
    new InvalidInputError(`${file}: ${detail}`, { ...(cause === undefined ? {} : { cause }), remedy: 'Give {"file.csv": [["from", "to"], …]} with times as in the files.' })
  let parsed: unknown
  try {
    parsed = JSON.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    throw wrong('it cannot be read as JSON', cause)
  }
  if (typeof parsed !== 'object' || parsed === null) throw wrong('it is no object')
  const instantOf = (text: unknown): number => {
    const tsMs = parseRecordedTime(String(text))
    if (tsMs === undefined) throw wrong(`"${String(text)}" is not a time`)
    return tsMs
  }
  return new Map(
    Object.entries(parsed).map(([name, windows]) => {
      if (!Array.isArray(windows)) throw wrong(`the windows of ${name} are no list`)
      return [name, windows.map((window: unknown): [number, number] => (Array.isArray(window) ? [instantOf(window[0]), instantOf(window[1])] : [instantOf(window), instantOf(window)]))]
    }),
  )
}

/** What the platform stored of a device, oldest first: one series a metric; its confirmed and rejected anomalies are no labels yet. */
async function pastsOfDevice(options: BacktestOptions): Promise<LabelledPast[]> {
  const client = ApiClient.find(options)
  const series = new Map<string, { tsMs: number[]; values: number[] }>()
  try {
    let cursor: string | null = null
    let readings = 0
    do {
      const range = `${options.from === undefined ? '' : `&from=${options.from}`}${options.to === undefined ? '' : `&to=${options.to}`}`
      const page: { items: { ts: number; values: Record<string, unknown> }[]; next: string | null } = await client.get(
        `/readings?device=${encodeURIComponent(options.device ?? '')}&limit=${PAGE_READINGS}${range}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
      )
      for (const { ts, values } of page.items) {
        for (const [metric, value] of Object.entries(values)) {
          if (typeof value === 'string' || value === null) continue
          const own = series.get(metric) ?? { tsMs: [], values: [] }
          own.tsMs.push(ts)
          own.values.push(Number(value))
          series.set(metric, own)
        }
      }
      readings += page.items.length
      cursor = page.next
    } while (cursor !== null && readings < READINGS_MAX)
  } finally {
    await client.close()
  }
  if (series.size === 0) throw new NotFoundError(`there are no readings of ${options.device ?? ''} in this time`)
  return [...series].map(([metric, { tsMs, values }]) => ({ name: `${options.device ?? ''} ${metric}`, tsMs: tsMs.reverse(), values: values.reverse() }))
}

function table(series: number, detectors: readonly DetectorReport[]): string {
  const rows = detectors.map(({ detector, events, recall, precision, falseEventsPer1000, against }) => [
    detector,
    String(events),
    shown(recall, 2),
    shown(precision, 2),
    shown(falseEventsPer1000, 3),
    against === null ? '' : `${shown(against.recall, 2)}  ${shown(against.falseEventsPer1000, 3)}`,
  ])
  const all = [['detector', 'events', 'windows found', 'events in windows', 'false events per 1000 readings', 'less the first: found, false'], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  const lines = all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd())
  return `${lines.join('\n')}\n${series} series, ${detectors[0]?.readings ?? 0} readings; in brackets what 95 % of resamplings of the series give\n`
}

function shown(estimate: Estimate | null, decimals: number): string {
  return estimate === null ? '–' : `${estimate.value.toFixed(decimals)} [${estimate.low.toFixed(decimals)}, ${estimate.high.toFixed(decimals)}]`
}
