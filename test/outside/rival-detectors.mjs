// Our detector beside others on recorded data with labels (the Numenta benchmark's files), in one run: `node test/outside/rival-detectors.mjs DIR`.
// Needs Python 3 and Maven with a JDK; installs River and the Random Cut Forest library into a temporary folder.
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

const nab = join(resolve(process.argv[2] ?? '../shared/data'), 'nab')
const source = join(nab, 'data')
const work = mkdtempSync(join(tmpdir(), 'rivals-'))
const PROFILES = ['standard', 'reward_low_FP_rate', 'reward_low_FN_rate']
const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>rivals</groupId><artifactId>rivals</artifactId><version>1</version>
<dependencies><dependency><groupId>software.amazon.randomcutforest</groupId><artifactId>randomcutforest-core</artifactId><version>4.0.0</version></dependency></dependencies></project>`
/** Thresholds tried for the rivals with our suppression of repeats: shares of all scores that lie below. */
const SHARES = [0.95, 0.97, 0.98, 0.985, 0.99, 0.9925, 0.995, 0.9965, 0.998, 0.999]
/** As in `anomaly/ensemble/ensemble-parameters.ts`, and twice that: the rivals get the better one. */
const EVENT_SHARES = [0.02, 0.04]
const EVENT_READINGS_MIN = 10

const run = (command, ...args) => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'], cwd: work })
const csvFiles = readdirSync(source, { recursive: true }).filter((file) => file.endsWith('.csv'))

function profilesOf(results, ...more) {
  const report = JSON.parse(run('python3', join(nab, 'score_nab.py'), '--results', results, '--labels', join(nab, 'windows.json'), ...more))
  return PROFILES.map((profile) => report.profiles[profile].score)
}

function ours() {
  const out = join(work, 'ours')
  execFileSync(process.execPath, ['dist/cli/main.js', 'score', '--in', source, '--out', out, '--json'])
  const lines = execFileSync(process.execPath, ['dist/benchmarks/detector.js'], { encoding: 'utf8' }).trim().split(/\r?\n/)
  const figures = lines.map((line) => JSON.parse(line)).find(({ figure }) => figure.startsWith('whole ensemble'))
  return { out, perSecond: 1e6 / figures.cpuMicrosecondsPerSample }
}

function halfSpaceTrees() {
  run('python3', '-m', 'venv', 'venv')
  run(join('venv', 'bin', 'pip'), 'install', '--quiet', 'river')
  const { rows, seconds } = JSON.parse(run(join('venv', 'bin', 'python'), 'half_space_trees.py', source, 'trees'))
  return { out: join(work, 'trees'), perSecond: rows / seconds }
}

function randomCutForest() {
  writeFileSync(join(work, 'pom.xml'), POM)
  run('mvn', '-q', '-B', 'dependency:copy-dependencies', '-DoutputDirectory=lib')
  run('javac', '-nowarn', '-cp', 'lib/*', 'RandomCutForests.java')
  const { rows, seconds } = JSON.parse(run('java', '-cp', 'lib/*:.', 'RandomCutForests', source, 'forest'))
  return { out: join(work, 'forest'), perSecond: rows / seconds }
}

/** Best of several thresholds, of each event only its first row: the rivals do not suppress repeats. */
function suppressed(results) {
  const scores = new Map(csvFiles.map((file) => [file, readFileSync(join(results, file), 'utf8').trim().split(/\r?\n/).slice(1).map((line) => Number(line.split(',').at(-1)))]))
  const all = [...scores.values()].flat().sort((a, b) => a - b)
  let best = PROFILES.map(() => 0)
  for (const [share, eventShare] of SHARES.flatMap((share) => EVENT_SHARES.map((eventShare) => [share, eventShare]))) {
    const threshold = all[Math.floor(share * all.length)]
    const out = join(work, 'suppressed')
    for (const [file, own] of scores) {
      let left = 0
      const rows = readFileSync(join(source, file), 'utf8').trim().split(/\r?\n/).slice(1).map((line, i) => {
        const begins = own[i] >= threshold && left <= 0
        if (own[i] >= threshold && left <= 0) left = Math.max(EVENT_READINGS_MIN, eventShare * i)
        else left--
        return `${line},${begins ? 1 : 0}`
      })
      mkdirSync(dirname(join(out, file)), { recursive: true })
      writeFileSync(join(out, file), `timestamp,value,anomaly_score\n${rows.join('\n')}\n`)
    }
    best = profilesOf(out, '--threshold', '0.5').map((score, k) => Math.max(score, best[k]))
  }
  return best
}

try {
  cpSync('test/outside/rivals', work, { recursive: true })
  const shown = (scores) => scores.map((score) => score.toFixed(1)).join(' / ')
  for (const [name, measure] of Object.entries({ 'this project': ours, 'River HalfSpaceTrees': halfSpaceTrees, 'Random Cut Forest': randomCutForest })) {
    const { out, perSecond } = measure()
    const plain = shown(profilesOf(out))
    const gated = measure === ours ? '' : `, with our suppression of repeats ${shown(suppressed(out))}`
    console.log(`${name}: ${plain}${gated}; ${Math.round(perSecond)} readings/s/core`)
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
