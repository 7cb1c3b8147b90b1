import { parseArgs } from 'node:util'
import { InvalidInputError } from '../kernel/errors.ts'
import { systemClock } from '../kernel/time.ts'
import type { Contender, Turn } from './harness/contender.ts'
import { complain, report, rounded } from './harness/figures.ts'
import { runLoad } from './harness/run-load.ts'
import { MosquittoTelegrafQuestdb } from './peers/mosquitto-telegraf-questdb.ts'
import { ThisProject } from './peers/this-project.ts'
import { ThisProjectOnServers } from './peers/this-project-on-servers.ts'

/*
 * This project, embedded and on Kafka and QuestDB, and the pipeline people build today, in turn, under the same load from the same generator:
 * publish to queryable. Only one system runs at a time, and who begins changes from round to round. Each is started anew for each turn and warmed up before it is measured.
 * Options: --total 1000000 (messages a turn), --rounds 3, --warm-up 100000, --connections 50, --inflight 20 (per connection),
 * --only TEXT (systems whose name holds it).
 */

const BENCH = 'peers'
const EMBEDDED_RATIO_MIN = 2
const SERVERS_RATIO_MIN = 1.2
const DAY_MS = 86_400_000

const { values: options } = parseArgs({
  options: {
    total: { type: 'string', default: '1000000' },
    rounds: { type: 'string', default: '3' },
    'warm-up': { type: 'string', default: '100000' },
    connections: { type: 'string', default: '50' },
    inflight: { type: 'string', default: '20' },
    only: { type: 'string', default: '' },
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

const peer = new MosquittoTelegrafQuestdb()
const embedded = new ThisProject(Number(connections))
const onServers = new ThisProjectOnServers(Number(connections))
/** What each of ours is to reach of the peer's rate. */
const goals: readonly [Contender, number][] = [
  [embedded, EMBEDDED_RATIO_MIN],
  [onServers, SERVERS_RATIO_MIN],
]
const all = [embedded, peer, onServers]
if (!all.some(({ name }) => name.includes(options.only))) {
  throw new InvalidInputError(`--only ${options.only}: the systems are ${all.map(({ name }) => `'${name}'`).join(', ')}`)
}
const contenders = all.filter((contender) => {
  if (!contender.name.includes(options.only)) return false
  const missing = contender.missing()
  if (missing !== null) process.stderr.write(`SKIPPED, NOT MEASURED: ${contender.name}: ${missing}\n`)
  return missing === null
})
const alive = setInterval(() => undefined, 1_000)
const rates = new Map<Contender, number[]>(contenders.map((contender) => [contender, []]))
for (let round = 1; round <= Number(options.rounds); round++) {
  // Who begins changes from round to round.
  const order = round % 2 === 1 ? contenders : contenders.toReversed()
  for (const contender of order) {
    const { messagesPerS, cpuSecondsPerMillion, load } = await takeTurn(contender)
    rates.get(contender)?.push(messagesPerS)
    const turn = { system: contender.name, round }
    const { ackedPerS, pubackMs } = load
    report({
      bench: BENCH,
      figure: 'publish to queryable',
      value: Math.round(messagesPerS),
      unit: 'messages/s',
      ...turn,
      messages: total,
      ackedPerS,
      pubackMs,
    })
    report({ bench: BENCH, figure: 'processor time', value: rounded(cpuSecondsPerMillion), unit: 'CPU-s per million', ...turn })
  }
}
clearInterval(alive)
for (const [contender, goal] of goals) {
  const peers = rates.get(peer) ?? []
  const ratios = (rates.get(contender) ?? []).flatMap((rate, i) => (peers[i] === undefined ? [] : [rate / peers[i]]))
  if (ratios.length === 0) continue
  const median = ratios.toSorted((a, b) => a - b)[ratios.length >> 1] as number
  report({
    bench: BENCH,
    figure: `${contender.name} to ${peer.name}, median`,
    value: rounded(median),
    unit: 'ratio',
    each: ratios.map((ratio) => rounded(ratio)),
  })
  if (median < goal) complain(`the ratio of ${contender.name} is ${rounded(median)}, less than ${goal}`)
}
