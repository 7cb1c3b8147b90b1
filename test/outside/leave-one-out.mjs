// What our detector scores on series that none of its numbers were chosen with: `node test/outside/leave-one-out.mjs DIR [SETTINGS]`.
// Of each of the Numenta benchmark's files, parameters and threshold are those that are best on all the others, out of SETTINGS (36) draws from a
// grid; those in use, which were chosen with all files in sight, are not among them, and stand beside the result: with the threshold of each file
// from the others alone. Scored by the benchmark's own rules. One line of JSON for each file, and for each profile. Exit code 1 below the least score.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { parseTimestamp } from '../../dist/anomaly/csv-timestamp.js'
import { EnsembleDetector } from '../../dist/anomaly/ensemble/ensemble-detector.js'
import { ENSEMBLE_DEFAULTS } from '../../dist/anomaly/ensemble/ensemble-parameters.js'
import { MEMBERS } from '../../dist/anomaly/ensemble/members.js'
import { integerBetween, seededRandom } from '../../dist/kernel/random.js'

const nab = join(resolve(process.argv[2] ?? '../shared/data'), 'nab')
const draws = Number(process.argv[3] ?? 36)
const LEAST_STANDARD = 69
/** Each parameter from half to twice what is in use; `others`: what members but the nearest value count. */
const GRID = {
  halfNoveltyAt: [0.4, 0.6, 0.8, 1.2, 1.6],
  noveltyMeanReadings: [3, 4, 6, 9, 12],
  eventShare: [0.01, 0.014, 0.02, 0.028, 0.04],
  eventStep: [1.5, 2, 2.5, 3.5, 5],
  warmUpReadings: [75, 110, 150, 220, 300],
  others: [0.5, 0.7, 1, 1.4, 2],
}
/** The members that are not scaled by `others`: value and short means. */
const NEAREST = 3

const files = readdirSync(join(nab, 'data'), { recursive: true }).filter((file) => file.endsWith('.csv')).sort()
const series = files.map((file) => ({
  file,
  rows: readFileSync(join(nab, 'data', file), 'utf8').trim().split(/\r?\n/).slice(1).map((line) => {
    const [timestamp, value] = line.split(',')
    return { timestamp, tsMs: parseTimestamp(timestamp), value: Number(value) }
  }),
}))

function settingsDrawn() {
  const random = seededRandom('leave one out')
  return Array.from({ length: draws }, () =>
    Object.fromEntries(Object.entries(GRID).map(([name, values]) => [name, values[integerBetween(random, 0, values.length - 1)]])),
  )
}

function scoreAll({ others, ...parameters }, out) {
  const members = MEMBERS.map(({ member, weight }, k) => ({ member, weight: k < NEAREST ? weight : weight * others }))
  for (const { file, rows } of series) {
    const detector = new EnsembleDetector({ members, parameters: { ...ENSEMBLE_DEFAULTS, ...parameters } })
    const state = detector.create()
    const lines = rows.map(({ timestamp, tsMs, value }) => {
      const score = detector.score(state, value, tsMs)
      detector.learn(state, value, tsMs)
      return `${timestamp},${score.toFixed(6)}`
    })
    mkdirSync(dirname(join(out, file)), { recursive: true })
    writeFileSync(join(out, file), `timestamp,anomaly_score\n${lines.join('\n')}\n`)
  }
}

const out = mkdtempSync(join(tmpdir(), 'left-out-'))

/** What these settings score: each file by a threshold that is best for the others. */
function judged(settings) {
  scoreAll(settings, out)
  const told = execFileSync('python3', [join('test', 'outside', 'leave_one_out.py'), nab, out, join(nab, 'windows.json')], { encoding: 'utf8' })
  return { settings, told: JSON.parse(told) }
}

function scoreOf(chosen) {
  const sum = (key) => chosen.reduce((total, one) => total + one[key], 0)
  return Number(((100 * (sum('raw') - sum('null'))) / (sum('perfect') - sum('null'))).toFixed(1))
}

try {
  const inUse = judged({ others: 1 })
  const tried = settingsDrawn().map(judged)
  for (const profile of Object.keys(inUse.told)) {
    const chosen = files.map((file) => {
      const best = tried.reduce((most, one) => (one.told[profile][file].others > most.told[profile][file].others ? one : most))
      return { file, settings: best.settings, ...best.told[profile][file] }
    })
    if (profile === 'standard')
      for (const { file, settings, threshold, raw, perfect } of chosen)
        console.log(JSON.stringify({ file, threshold, raw: Number(raw.toFixed(3)), perfect, ...settings }))
    const leftOut = scoreOf(chosen)
    console.log(JSON.stringify({ profile, leftOut, thresholdLeftOut: scoreOf(Object.values(inUse.told[profile])), files: files.length, settings: draws }))
    if (profile === 'standard' && leftOut < LEAST_STANDARD) process.exitCode = 1
  }
} finally {
  rmSync(out, { recursive: true, force: true })
}
