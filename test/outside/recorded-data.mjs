// Checks against recorded data with labels (the Numenta benchmark's files), kept outside the repository: `node test/outside/recorded-data.mjs DIR`.
// Scores every file with the CLI and the benchmark's own scoring rules, and replays one recording through the running platform.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { PlatformProcess, until } from '../../dist/test/testing/platform-process.js'

const data = resolve(process.argv[2] ?? '../shared/data')
const LEAST = { standard: 79, reward_low_FP_rate: 72, reward_low_FN_rate: 84 }
const RECORDING = 'realKnownCause/cpu_utilization_asg_misconfiguration.csv'
let failed = 0
let passed = 0

async function check(name, run) {
  try {
    console.log(`ok ${name}: ${await run()}`)
    passed++
  } catch (error) {
    console.log(`FAILED ${name}: ${error.message}`)
    failed++
  }
}

const out = mkdtempSync(join(tmpdir(), 'scored-'))
await check('accuracy on recorded series', () => {
  const nab = join(data, 'nab')
  execFileSync(process.execPath, ['dist/cli/main.js', 'score', '--in', join(nab, 'data'), '--out', out, '--json'])
  const report = JSON.parse(execFileSync('python3', [join(nab, 'score_nab.py'), '--results', out, '--labels', join(nab, 'windows.json')], { encoding: 'utf8' }))
  const scores = Object.fromEntries(Object.entries(report.profiles).map(([profile, { score }]) => [profile, score]))
  for (const [profile, least] of Object.entries(LEAST)) assert.ok(scores[profile] >= least, `${profile} ${scores[profile]}, at least ${least} expected`)
  return JSON.stringify(scores)
})

const outOfPlant = mkdtempSync(join(tmpdir(), 'scored-'))
await check('several metrics of a plant scored together', () => {
  const skab = join(data, 'skab')
  const scoring = ['--in', join(skab, 'data'), '--out', outOfPlant, '--train-rows', '400', '--json']
  execFileSync(process.execPath, ['dist/cli/main.js', 'score', ...scoring])
  const split = ['--files', `${join(skab, 'split.json')}:dev`]
  const report = JSON.parse(
    execFileSync('python3', [join(skab, 'score_skab.py'), '--results', outOfPlant, '--data', join(skab, 'data'), ...split], { encoding: 'utf8' }),
  )
  const { f1, far_pct: far, mar_pct: mar, auc_pr_on_tune_files: auc, segments, segments_detected: found } = report
  assert.ok(f1 >= 0.84 && far <= 18 && mar <= 18 && auc >= 0.9, `F1 ${f1}, FAR ${far}, MAR ${mar}, AUC-PR ${auc}`)
  assert.equal(found, segments, 'onsets found')
  return JSON.stringify({ f1, far, mar, auc, segments, found })
})

await check('a replayed recording raises an alert inside its labelled window', async () => {
  const platform = new PlatformProcess()
  try {
    await platform.start()
    const { folder } = await platform.provision('recorded')
    const file = join(data, 'nab', 'data', RECORDING)
    const rows = readFileSync(file, 'utf8').trim().split('\n').length - 1
    await platform.cli('replay', file, '--device', 'recorded', '--cert-dir', folder, '--metric', 'cpu', '--json')
    await platform.cli('replay', file, '--device', 'recorded', '--cert-dir', folder, '--metric', 'cpu', '--json')
    const sums = await until('every row', async () => {
      const summary = await platform.get('/ledger?summary=true')
      return summary.received === 2 * rows && summary.stored === rows && summary
    })
    assert.deepEqual([sums.stored, sums.duplicate, sums.rejected, sums.missing], [rows, rows, 0, 0])
    const windows = JSON.parse(readFileSync(join(data, 'nab', 'windows.json'), 'utf8'))[RECORDING].map((pair) => pair.map((text) => Date.parse(`${text.slice(0, 19).replace(' ', 'T')}Z`)))
    const alert = await until('an alert inside the window', async () => {
      const { items } = await platform.get('/alerts?device=recorded&limit=100')
      return items.find((item) => windows.some(([from, to]) => item.startedAt >= from && item.startedAt <= to))
    })
    return alert.explanation.text
  } finally {
    await platform.remove()
  }
})

for (const dir of [out, outOfPlant]) rmSync(dir, { recursive: true, force: true })
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
