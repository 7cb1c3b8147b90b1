import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { gaussian, seededRandom } from '../kernel/random.ts'
import { parseTimestamp } from './csv-timestamp.ts'
import { EnsembleDetector } from './ensemble/ensemble-detector.ts'
import { scoreCsv, scoreDirectory } from './score-file.ts'

const START_TS = Date.UTC(2014, 4, 14, 1, 14)

async function* chunksOf(text: string, sizeChars: number): AsyncGenerator<string> {
  for (let at = 0; at < text.length; at += sizeChars) yield text.slice(at, at + sizeChars)
}

async function scored(text: string, options: { chunkChars?: number; trainRows?: number } = {}): Promise<string> {
  let result = ''
  const more = options.trainRows === undefined ? {} : { trainRows: options.trainRows }
  for await (const part of scoreCsv(chunksOf(text, options.chunkChars ?? 4_096), { name: 'a.csv', ...more })) result += part
  return result
}

function stamp(i: number): string {
  return new Date(START_TS + i * 300_000).toISOString().slice(0, 19).replace('T', ' ')
}

function series(rows: number, spikeAt: number): number[] {
  const random = seededRandom(4)
  return Array.from({ length: rows }, (_, i) => (i === spikeAt ? 60 : 20 + gaussian(random)))
}

test('each row gets exactly the score of the online detector; the rest of the text is untouched', async () => {
  const values = series(400, 350)
  const text = `timestamp,value\n${values.map((value, i) => `${stamp(i)},${value}`).join('\n')}\n`
  const detector = new EnsembleDetector()
  const state = detector.create()
  const expected = values.map((value, i) => {
    const score = detector.score(state, value, START_TS + i * 300_000)
    detector.learn(state, value, START_TS + i * 300_000)
    return `${stamp(i)},${value},${score.toFixed(6)}`
  })
  assert.equal(await scored(text), `timestamp,value,anomaly_score\n${expected.join('\n')}\n`)
  assert.ok(Number(expected[350]?.split(',')[2]) > 0.65)
})

test('chunks may be cut anywhere; line endings and a missing last one are kept', async () => {
  const text = `timestamp,value\r\n${[1, 2, 3, 4].map((value, i) => `${stamp(i)},${value}`).join('\r\n')}`
  const whole = await scored(text)
  assert.ok(whole.startsWith('timestamp,value,anomaly_score\r\n') && !whole.endsWith('\n'))
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 40 }), async (chunkChars) => assert.equal(await scored(text, { chunkChars }), whole)),
    { seed: 7, numRuns: 20 },
  )
})

test('several metrics give one score, the largest; columns that hold the answer are kept and never read', async () => {
  const values = series(300, 250)
  const rows = (answer: (i: number) => number): string =>
    `datetime;flow;pressure;anomaly;changepoint\n${values.map((value, i) => `${stamp(i)};5;${value};${answer(i)};0.0`).join('\n')}\n`
  const scoresIn = (text: string): string[] =>
    text
      .trim()
      .split('\n')
      .slice(1)
      .map((row) => row.split(';').at(-1) ?? '')
  const one = scoresIn(await scored(rows(() => 0)))
  assert.deepEqual(scoresIn(await scored(rows((i) => i % 2))), one)
  assert.ok(Number(one[250]) > 0.65)
})

test('cells that are no numbers score 0 and teach nothing; duplicated and unordered timestamps are rows like any', async () => {
  const values = series(300, -1)
  const clean = values.map((value, i) => `${stamp(i % 7 === 3 ? i - 1 : i)},${value}`)
  const bad = ['', 'NaN', 'broken', 'Infinity', ' '].map((cell) => `${stamp(9)},${cell}`)
  const mixed = [...clean.slice(0, 100), ...bad, ...clean.slice(100)]
  const result = (await scored(`timestamp,value\n${mixed.join('\n')}\n`)).trim().split('\n').slice(1)
  assert.deepEqual(
    result.slice(100, 105),
    bad.map((row) => `${row},0.000000`),
  )
  const expected = (await scored(`timestamp,value\n${clean.join('\n')}\n`)).trim().split('\n').slice(1)
  assert.deepEqual([...result.slice(0, 100), ...result.slice(105)], expected)
})

test('training rows score 0 and are learnt', async () => {
  const text = `timestamp,value\n${series(300, 250)
    .map((value, i) => `${stamp(i)},${value}`)
    .join('\n')}\n`
  const plain = (await scored(text)).split('\n')
  const trained = (await scored(text, { trainRows: 200 })).split('\n')
  assert.ok(trained.slice(1, 201).every((row) => row.endsWith(',0.000000')))
  assert.deepEqual(trained.slice(201), plain.slice(201))
})

test('with training rows several metrics are scored together: what wandered in training may, what stood still may not', async () => {
  const random = seededRandom(9)
  let warmth = 20
  const rows = Array.from({ length: 900 }, (_, i) => {
    warmth += 0.05 * gaussian(random)
    const flow = 30 + gaussian(random) - (i >= 700 && i < 800 ? 3 : 0)
    return `${stamp(i)},${warmth},${flow}`
  })
  const result = await scored(`timestamp,warmth,flow\n${rows.join('\n')}\n`, { trainRows: 400 })
  const scores = result
    .trim()
    .split('\n')
    .slice(1)
    .map((row) => Number(row.split(',')[3]))
  assert.ok(scores.slice(0, 400).every((score) => score === 0))
  assert.ok(Math.max(...scores.slice(400, 700)) < 0.5, `${Math.max(...scores.slice(400, 700))}`)
  assert.ok(scores.slice(720, 800).every((score) => score > 0.5))
  assert.ok(scores.slice(840).every((score) => score < 0.5))
  const bad = rows.map((row, i) => (i % 10 === 5 ? `${stamp(i)},NaN,` : i === 650 ? `${stamp(i)},1e300,-1e300` : row))
  const strange = (await scored(`timestamp,warmth,flow\n${bad.join('\n')}\n`, { trainRows: 400 })).trim().split('\n').slice(1)
  assert.ok(strange.map((row) => Number(row.split(',')[3])).every((score) => score >= 0 && score <= 1))
  const prefix = await scored(`timestamp,warmth,flow\n${rows.slice(0, 750).join('\n')}\n`, { trainRows: 400 })
  assert.ok(result.startsWith(prefix))
})

test('errors name file and line and say what to do', async () => {
  for (const [text, message] of [
    ['', /^a\.csv:1: the file is empty/],
    ['2014-05-14 01:14:00,85.8\n', /^a\.csv:1: there is no header line/],
    ['when,value\n', /^a\.csv:1: the header has no column named timestamp/],
    ['timestamp\n', /^a\.csv:1: there is no column of values/],
    ['timestamp,value,anomaly_score\n', /^a\.csv:1: there is a column anomaly_score already/],
    ['timestamp,value\n2014-05-14 01:14:00,1\nyesterday,2\n', /^a\.csv:3: "yesterday" is not a timestamp/],
    ['timestamp,value\n2014-05-14 01:14:00,1,2\n', /^a\.csv:2: the row has 3 cells, the header 2/],
  ] as const) {
    await assert.rejects(scored(text), (error: Error & { code?: string; remedy?: string }) => {
      assert.match(error.message, message)
      assert.equal(error.code, 'INVALID_INPUT')
      assert.ok((error.remedy ?? '') !== '')
      return true
    })
  }
})

test('timestamps of every shape that is promised', () => {
  const expected = Date.UTC(2014, 4, 14, 1, 14, 0)
  for (const text of [
    '2014-05-14 01:14:00',
    '2014-05-14T01:14:00Z',
    '2014-05-14T03:14:00+02:00',
    '2014-05-14 01:14:00.000000',
    '2014-05-14 01:14',
    '1400030040',
    '1400030040000',
  ]) {
    assert.equal(parseTimestamp(text), expected, text)
  }
  assert.equal(parseTimestamp('2014-05-14'), Date.UTC(2014, 4, 14))
  for (const text of ['', 'NaN', '2014-13-45 00:00:00', 'noon']) assert.equal(parseTimestamp(text), undefined, text)
})

test('a folder is scored into the same relative paths; a file that fails leaves nothing behind', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'fleetpulse-score-'))
  try {
    await mkdir(join(dir, 'in', 'sub'), { recursive: true })
    await writeFile(join(dir, 'in', 'a.csv'), 'timestamp,value\n1,2\n')
    await writeFile(join(dir, 'in', 'sub', 'b.csv'), 'timestamp,value\n1,2\n')
    const seen: string[] = []
    const options = { inDir: join(dir, 'in'), outDir: join(dir, 'out') }
    assert.deepEqual(
      await scoreDirectory({
        ...options,
        onProgress: ({ file, filesDone, filesTotal }) => void seen.push(`${file} ${filesDone}/${filesTotal}`),
      }),
      { files: 2 },
    )
    assert.deepEqual(seen, ['a.csv 1/2', `${join('sub', 'b.csv')} 2/2`])
    assert.equal(await readFile(join(dir, 'out', 'sub', 'b.csv'), 'utf8'), 'timestamp,value,anomaly_score\n1,2,0.000000\n')
    await assert.rejects(scoreDirectory({ inDir: options.inDir, outDir: join(options.inDir, 'sub') }), { code: 'INVALID_INPUT' })
    await assert.rejects(scoreDirectory({ inDir: join(dir, 'none'), outDir: options.outDir }), { code: 'NOT_FOUND' })
    await writeFile(join(dir, 'in', 'sub', 'c.csv'), 'timestamp,value\nnever,2\n')
    await assert.rejects(scoreDirectory(options), { code: 'INVALID_INPUT' })
    assert.deepEqual(await readdir(join(dir, 'out', 'sub')), ['b.csv'])
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
