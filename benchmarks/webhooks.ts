import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { operator } from '../alerts/alerts-testing.ts'
import { change, changeMessage, webhooksOptions, WebhookWorld } from '../alerts/webhooks/webhooks-testing.ts'
import { runStorm } from '../alerts/testing/storm.ts'
import { seededRandom } from '../kernel/random.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { Latencies } from '../simulators/latencies.ts'
import { complain, report } from './harness/figures.ts'

/*
 * Webhooks under load. `storm`: 10 000 alerts in 60 s from one cause, memory of the worker, and how much arrives. `kills`: rounds of kill -9
 * of worker and receiver. `hanging`: 1 000 endpoints, of which none or 100 never answer; how long the others wait.
 * How soon a first try follows its alert at 5 000 readings/s is a figure of the bench alert-latency.
 * Options: --part storm,kills,hanging, --alerts 10000, --rounds 20, --seed 7, --endpoints 1000, --changes 8, --every-ms 4000, --pairs 3.
 */

const BENCH = 'webhooks'
const STORM_S = 60
const RSS_MAX_BYTES = 700 * 1024 ** 2
const KILL_ALERTS = 1_000

const { values: options } = parseArgs({
  options: {
    part: { type: 'string', default: 'storm,kills,hanging' },
    alerts: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '20' },
    seed: { type: 'string', default: '7' },
    endpoints: { type: 'string', default: '1000' },
    changes: { type: 'string', default: '8' },
    pairs: { type: 'string', default: '3' },
    'every-ms': { type: 'string', default: '4000' },
  },
})
const parts = options.part.split(',')

async function storm(): Promise<void> {
  const alerts = Number(options.alerts)
  const random = seededRandom(Number(options.seed))
  const outcome = await runStorm({ alerts, perSecond: alerts / STORM_S, workerKills: 0, receiverKills: 0, random, timeoutMs: 300_000 })
  report({ bench: BENCH, figure: 'storm, alerts lost', value: outcome.lost, unit: 'alerts', alerts, seconds: outcome.seconds })
  report({ bench: BENCH, figure: 'storm, incidents', value: outcome.incidents, unit: 'incidents' })
  report({ bench: BENCH, figure: 'storm, largest RSS of the worker', value: Math.round(outcome.rssMaxBytes / 1024 ** 2), unit: 'MiB' })
  if (outcome.lost > 0 || outcome.withoutId > 0) complain(`${outcome.lost} alerts lost, ${outcome.withoutId} messages without an id`)
  if (outcome.incidents > 5) complain(`${outcome.incidents} incidents, more than 5`)
  if (outcome.rssMaxBytes > RSS_MAX_BYTES) complain(`${outcome.rssMaxBytes} bytes of memory`)
}

async function kills(): Promise<void> {
  const sums = { lost: 0, doubled: 0, withoutId: 0, ambiguousIds: 0, repeats: 0 }
  for (let round = 0; round < Number(options.rounds); round++) {
    const random = seededRandom(Number(options.seed) + round)
    const outcome = await runStorm({ alerts: KILL_ALERTS, perSecond: 1_000, workerKills: 3, receiverKills: 2, random, timeoutMs: 120_000 })
    for (const key of Object.keys(sums) as (keyof typeof sums)[]) sums[key] += outcome[key]
  }
  const { lost, withoutId, ...others } = sums
  report({
    bench: BENCH,
    figure: 'kill -9 of worker and receiver, alerts lost',
    value: lost,
    unit: 'alerts',
    rounds: Number(options.rounds),
    alertsPerRound: KILL_ALERTS,
    withoutId,
    ...others,
  })
  if (lost + sums.doubled + withoutId + sums.ambiguousIds > 0) complain(JSON.stringify(sums))
}

/** p99 of a first try's arrival after the change was appended, at endpoints that answer. */
async function spread(hanging: number): Promise<number | null> {
  const [endpoints, changes] = [Number(options.endpoints), Number(options.changes)]
  const world = await WebhookWorld.open()
  const latencies = new Latencies()
  const sentAtMs = new Map<string, number>()
  const server = await listen((path, id) => {
    const sent = sentAtMs.get(id.split('_').at(-1) ?? '')
    if (sent !== undefined) latencies.add(systemClock.monotonicMs() - sent)
    return !path.startsWith('/hangs')
  })
  try {
    const webhooks = await world.start({ ...webhooksOptions(world.engines, { endpointsMax: endpoints + 1 }) })
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    for (let i = 0; i < endpoints; i++)
      await webhooks.service.create(operator, { url: `${origin}/${i < hanging ? 'hangs' : 'works'}/${i}`, events: ['alert.opened'] })
    const wanted = (endpoints - hanging) * changes
    for (let i = 0; i < changes; i++) {
      const one = change()
      sentAtMs.set(one.id, systemClock.monotonicMs())
      await world.engines.eventLog.append('alerts', [changeMessage(one)])
      await sleep(systemClock, Number(options['every-ms']))
    }
    for (let waited = 0; latencies.percentiles().count < wanted && waited < 120; waited++) await sleep(systemClock, 500)
    const { count, p50, p99 } = latencies.percentiles()
    report({
      bench: BENCH,
      figure: `arrival at ${endpoints} endpoints, ${hanging} hang, p99 of the others`,
      value: p99,
      unit: 'ms',
      p50,
      arrived: count,
      wanted,
    })
    if (count < wanted) complain(`${wanted - count} of ${wanted} did not arrive while ${hanging} hang`)
    return p99
  } finally {
    server.closeAllConnections()
    server.close()
    await world.close()
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Infinity
}

function listen(take: (path: string, id: string) => boolean): Promise<Server> {
  const server = createServer((request, response) => {
    request.resume()
    request.on('end', () => {
      const path = request.url ?? ''
      const answers = path.startsWith('/hangs') ? false : take(path, String(request.headers['webhook-id']))
      if (answers) response.writeHead(204).end()
    })
  })
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)))
}

if (parts.includes('storm')) await storm()
if (parts.includes('kills')) await kills()
if (parts.includes('hanging')) {
  const [none, some]: [number[], number[]] = [[], []]
  // In turn, because one slow moment of the machine decides the p99 of a run: the middle run of each says what hangs cost.
  for (let pair = 0; pair < Number(options.pairs); pair++) {
    none.push((await spread(0)) ?? Infinity)
    some.push((await spread(Number(options.endpoints) / 10)) ?? Infinity)
  }
  const ratio = Math.round((median(some) / median(none)) * 100) / 100
  const figure = 'p99 with a tenth hanging, over none hanging'
  report({ bench: BENCH, figure, value: ratio, unit: '×', pairs: none.length, noneMs: none.join(' '), someMs: some.join(' ') })
  if (!(ratio <= 2)) complain(`endpoints that hang delay the others ${ratio} ×`)
}
