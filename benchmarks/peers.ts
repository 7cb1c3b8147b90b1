import { parseArgs } from 'node:util'
import { systemClock } from '../kernel/time.ts'
import type { Contender, Turn } from './harness/contender.ts'
import { complain, report, rounded } from './harness/figures.ts'
import { runLoad } from './harness/run-load.ts'
import { MosquittoTelegrafQuestdb } from './peers/mosquitto-telegraf-questdb.ts'
import { ThisProject } from './peers/this-project.ts'

/*
 * This project and the pipeline people build today, in turn, under the same load from the same generator: publish to queryable. Only one
 * system runs at a time, and who begins changes from pair to pair. Both are started anew for each turn and warmed up before it is measured.
 * Options: --total 1000000 (messages a turn), --pairs 3, --warm-up 100000, --connections 50, --inflight 20 (per connection).
 */

const BENCH = 'peers'
const RATIO_MIN = 1.25
const DAY_MS = 86_400_000

const { values: options } = parseArgs({
  options: {
    total: { type: 'string', default: '1000000' },
    pairs: { type: 'string', default: '3' },
    'warm-up': { type: 'string', default: '100000' },
    connections: { type: 'string', default: '50' },
    inflight: { type: 'string', default: '20' },
  },
})
const total = Number(options.total)
const warmUp = Number(options['warm-up'])
const { connections, inflight } = options

async function takeTurn(contender: Contender): Promise<Turn> {
  try {
    await contender.start()
    const common = { ...contender.loadOptions(), connections, inflight }
    // Of another day, so that no reading is there twice.
    await runLoad({ ...common, total: warmUp, 'start-ts': systemClock.nowMs() - DAY_MS })
    await contender.queryable(warmUp)
    const cpuBeforeS = contender.cpuSeconds()
    const load = await runLoad({ ...common, total })
    const atMs = await contender.queryable(warmUp + total)
    const cpuS = contender.cpuSeconds() - cpuBeforeS
    return { messagesPerS: (total * 1_000) / (atMs - load.firstPublishAtMs), cpuSecondsPerMillion: (cpuS * 1e6) / total, load }
  } finally {
    await contender.stop()
  }
}

const ours = new ThisProject(Number(connections))
const peer = new MosquittoTelegrafQuestdb()
const missing = peer.missing()
if (missing !== null) process.stderr.write(`SKIPPED, NOT MEASURED: ${peer.name}: ${missing}\n`)
const alive = setInterval(() => undefined, 1_000)
const ratios: number[] = []
for (let pair = 1; pair <= Number(options.pairs); pair++) {
  const order: Contender[] = missing !== null ? [ours] : pair % 2 === 1 ? [ours, peer] : [peer, ours]
  const rates = new Map<Contender, number>()
  for (const contender of order) {
    const { messagesPerS, cpuSecondsPerMillion, load } = await takeTurn(contender)
    rates.set(contender, messagesPerS)
    const turn = { system: contender.name, pair, messages: total }
    const { ackedPerS, pubackMs } = load
    report({
      bench: BENCH,
      figure: 'publish to queryable',
      value: Math.round(messagesPerS),
      unit: 'messages/s',
      ...turn,
      ackedPerS,
      pubackMs,
    })
    report({
      bench: BENCH,
      figure: 'processor time',
      value: rounded(cpuSecondsPerMillion),
      unit: 'CPU-s per million',
      system: contender.name,
      pair,
    })
  }
  if (missing !== null) continue
  const ratio = (rates.get(ours) ?? NaN) / (rates.get(peer) ?? NaN)
  ratios.push(ratio)
  report({ bench: BENCH, figure: 'this project to the peer', value: rounded(ratio), unit: 'ratio', pair })
}
clearInterval(alive)
if (ratios.length > 0) {
  const median = ratios.toSorted((a, b) => a - b)[ratios.length >> 1] as number
  report({ bench: BENCH, figure: 'this project to the peer, median', value: rounded(median), unit: 'ratio', of: ratios.length })
  if (median < RATIO_MIN) complain(`the ratio is ${rounded(median)}, less than ${RATIO_MIN}`)
}
