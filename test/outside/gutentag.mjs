// Recall per kind of anomaly on series by GutenTAG: `python3 gutentag.py SEED DIR`, then `node test/outside/gutentag.mjs DIR`. Scores the files with
// the command line, and asks which channel an anomaly of the same readings names on the road.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { AnomalyOperator } from '../../dist/anomaly/anomaly-operator.js'
import { AnomalyConfigSchema } from '../../dist/anomaly/config.js'
import { Metrics } from '../../dist/kernel/metrics.js'
import { compileSchema } from '../../dist/kernel/schema.js'

const dir = resolve(process.argv[2] ?? 'gutentag')
const GRACE_ROWS = 20
const EVENT_ROWS = 60
/** Scores count an event once, so they are lower than the novelty that raises an anomaly. */
const SCORE_AT = 0.5
const { value: config } = compileSchema(AnomalyConfigSchema)({})
const out = mkdtempSync(join(tmpdir(), 'gutentag-'))
execFileSync(process.execPath, ['dist/cli/main.js', 'score', '--in', dir, '--out', out, '--json'])

function raisedOf(rows) {
  const raised = []
  const emit = (_topic, _schema, _tenant, _device, anomaly) => anomaly.phase === 'raised' && raised.push(anomaly)
  const operator = new AnomalyOperator({ config, silenceAfterMs: () => 0, metrics: new Metrics() })
  const state = operator.create('default', 'd', 't')
  for (const [offset, [ts, ...values]] of rows.entries()) {
    const told = Object.fromEntries(values.slice(0, 3).map((value, k) => [`m${k}`, value]))
    const at = { tenant: 'default', device: 'd', type: 't', ts: ts * 1_000, receivedAt: ts * 1_000, partition: 0, offset, correlationId: '' }
    operator.apply(state, { ...at, values: told }, { emit })
  }
  return raised
}

const tallies = new Map()
for (const { file, kind, channel, from, to } of JSON.parse(readFileSync(join(dir, 'kinds.json'), 'utf8'))) {
  const rows = readFileSync(join(out, file), 'utf8').trim().split('\n').slice(1).map((line) => line.split(',').map(Number))
  const tally = tallies.get(kind) ?? { kind, files: 0, found: 0, raised: 0, raisedElsewhere: 0, named: 0, false: 0, rows: 0 }
  tallies.set(kind, tally)
  tally.files++
  tally.rows += rows.length
  const scores = rows.map((row) => row.at(-1))
  if (scores.slice(from, to + GRACE_ROWS).some((score) => score >= SCORE_AT)) tally.found++
  let last = -EVENT_ROWS
  for (const [i, score] of scores.entries()) {
    if (score < SCORE_AT || (i >= from && i < to + EVENT_ROWS)) continue
    if (i - last >= EVENT_ROWS) tally.false++
    last = i
  }
  const raised = raisedOf(rows)
  tally.raisedElsewhere += raised.filter(({ offset }) => offset < from || offset >= to + EVENT_ROWS).length
  const first = raised.find(({ offset }) => offset >= from && offset < to + GRACE_ROWS)
  if (first === undefined) continue
  tally.raised++
  if (first.metric === channel) tally.named++
}
rmSync(out, { recursive: true })
const all = { kind: 'all', files: 0, found: 0, raised: 0, raisedElsewhere: 0, named: 0, false: 0, rows: 0 }
for (const tally of tallies.values()) for (const key of Object.keys(tally)) if (key !== 'kind') all[key] += tally[key]
for (const { kind, files, found, raised, raisedElsewhere, named, false: wrong, rows } of [...tallies.values(), all]) {
  const per1000 = (count) => Number(((1_000 * count) / rows).toFixed(2))
  const scored = { found: `${found} of ${files}`, falsePer1000: per1000(wrong) }
  const road = { raised: `${raised} of ${files}`, falsePer1000: per1000(raisedElsewhere), namedRight: `${named} of ${raised}` }
  console.log(JSON.stringify({ kind, scored, road }))
}
process.exitCode = all.named >= 0.9 * all.raised ? 0 : 1
