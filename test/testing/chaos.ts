import { setTimeout as wait } from 'node:timers/promises'
import type { Target } from '../../app/targets.ts'
import { GENERIC_TYPE } from '../../contracts/device.ts'
import type { WindowResult } from '../../contracts/window.ts'
import type { LocalServers } from '../../deploy/servers/local-servers.ts'
import { silentLogger } from '../../kernel/log.ts'
import { integerBetween, seededRandom, type Random } from '../../kernel/random.ts'
import { systemClock } from '../../kernel/time.ts'
import { Fleet } from '../../simulators/fleet.ts'
import { measureStored, type StoredItem, type StoredTruth } from '../../simulators/store-check.ts'
import { Balancer } from './balancer.ts'
import { Troubles } from './chaos-troubles.ts'
import type { Cluster, Member } from './cluster.ts'
import { conversationFaults } from './conversation-faults.ts'
import { until } from './platform-process.ts'
import { windowFaults, type OracleReading } from './window-oracle.ts'

/** What may happen, by name. */
export const CALAMITIES = [
  'kill edge',
  'kill processing',
  'kill anomaly',
  'kill alerts',
  'kill agents',
  'kill registry',
  'kill dashboard',
  'kafka',
  'questdb',
  'mongodb',
  'add',
  'remove',
  'cut',
] as const
export type Calamity = (typeof CALAMITIES)[number]

export interface ChaosReport extends StoredTruth {
  seed: number
  happened: string[]
  sent: number
  acked: number
  reconnects: number
  ledger: Record<string, number>
  windowsChecked: number
  windowFaults: string[]
  /** What agents talked about, and what was not as it must be. */
  incidents: number
  digests: number
  slowest: string[]
  conversationFaults: string[]
}

export interface ChaosOptions {
  cluster: Cluster
  servers: LocalServers
  seed: number
  devices: number
  ratePerS: number
  /** What happens, in an order by the seed; each at a random moment after the one before. */
  calamities: readonly Calamity[]
  /** Shortest and longest time between two, in ms. */
  pauseMs: readonly [number, number]
  windowSizeMs: number
  /** Devices whose windows are compared with the oracle. */
  windowDevices: number
  onProgress: (text: string) => void
}

/** Copies that may be added and taken away again. */
const COPIED: readonly Target[] = ['processing', 'anomaly', 'alerts', 'agents', 'edge']
const PAGE_ITEMS = 1_000
/** Shares of publishes that come twice, and that the next one overtakes. */
export const DISORDER = { repeatShare: 0.02, swapShare: 0.02 }
const FLOW_TIMEOUT_MS = 120_000
/** The time of a round about an incident (agents.summaryTimeoutMs), as long again for its last word, and a minute. */
const TALK_TIMEOUT_MS = 300_000

/** Load from many devices while processes and servers die; then an independent look at the store. */
export async function chaosRun(options: ChaosOptions): Promise<ChaosReport> {
  const { cluster, seed, devices, ratePerS, onProgress } = options
  const random = seededRandom(`chaos-${seed}`)
  const edges = (): number[] =>
    cluster.members.flatMap((member) =>
      member.targets.includes('edge') && member.process.isRunning ? [member.process.ready?.mqtts ?? 0] : [],
    )
  const balancer = new Balancer(edges)
  await balancer.start()
  const fleet = new Fleet({
    devices,
    ratePerS,
    seed,
    idPrefix: 'chaos-',
    host: 'localhost',
    mqttsPort: balancer.port,
    clock: systemClock,
    log: silentLogger,
    inflightMax: 50,
    disorder: DISORDER,
    enrol: (device) => cluster.enrol(device, GENERIC_TYPE),
  })
  const troubles = new Troubles({ cluster, port: balancer.port, seed })
  try {
    await troubles.prepare(options.calamities.length)
    await fleet.connect()
    onProgress(`${devices} devices are connected`)
    fleet.run()
    const happened: string[] = []
    for (const calamity of shuffled(options.calamities, random)) {
      troubles.begin()
      await wait(integerBetween(random, options.pauseMs[0], options.pauseMs[1]))
      const what = await happen(calamity, options, balancer, random)
      happened.push(what)
      onProgress(what)
      const target = fleet.totals().acked + ratePerS / 2
      await until(`readings to flow after: ${what}`, () => Promise.resolve(fleet.totals().acked >= target), FLOW_TIMEOUT_MS)
    }
    await wait(options.windowSizeMs * 2)
    fleet.pause()
    try {
      await until('the last acknowledgements', () => Promise.resolve(fleet.totals().unacked + troubles.unacked === 0), FLOW_TIMEOUT_MS)
    } catch (error) {
      const waiting = fleet.devices.filter(({ unacked }) => unacked > 0)
      onProgress(
        `still waiting: ${JSON.stringify(waiting.map(({ id, unacked, isConnected, reconnects }) => ({ id, unacked, isConnected, reconnects })))}`,
      )
      throw error
    }
    return await check(options, fleet, troubles, happened)
  } finally {
    troubles.stop()
    fleet.stop()
    await balancer.stop()
  }
}

async function check(options: ChaosOptions, fleet: Fleet, troubles: Troubles, happened: string[]): Promise<ChaosReport> {
  const { cluster, seed, onProgress } = options
  const { sent, acked, reconnects } = fleet.totals()
  const ledger = await until(
    'the ledger to settle',
    async () => {
      const sums = await cluster.get<Record<string, number>>('/ledger?summary=true')
      onProgress(`stored ${sums.stored} of ${acked}`)
      return (sums.stored ?? 0) >= acked && sums
    },
    FLOW_TIMEOUT_MS,
  )
  const store = { readings: (query: string) => cluster.get<{ items: StoredItem[]; next: string | null }>(`/readings?${query}`) }
  const truth = await measureStored({ fleet, store, clock: systemClock, timeoutMs: 120_000, onProgress: () => undefined })
  onProgress('what is stored was compared')
  const ids = fleet.devices.slice(0, options.windowDevices).map(({ id }) => id)
  const windows = await compareWindows(cluster, ids, options.windowSizeMs)
  onProgress(`${windows.windowsChecked} windows were compared`)
  const { faults, ...conversed } = await conversationFaults(cluster, troubles.devices, TALK_TIMEOUT_MS)
  return { seed, happened, sent, acked, reconnects, ledger, ...truth, ...windows, ...conversed, conversationFaults: faults }
}

/** Where the API is asked. */
interface ApiView {
  get<T>(path: string): Promise<T>
}

/** The first metric's windows of these devices, beside what their stored readings say. */
export async function compareWindows(
  api: ApiView,
  devices: readonly string[],
  sizeMs: number,
): Promise<Pick<ChaosReport, 'windowsChecked' | 'windowFaults'>> {
  let windowsChecked = 0
  const faults: string[] = []
  for (const device of devices) {
    const readings = (await everything<OracleReading>(api, `/readings?device=${device}`)).sort((a, b) => a.ts - b.ts || a.seq - b.seq)
    const metric = Object.keys(readings[0]?.values ?? {})[0] ?? ''
    const emitted = (await everything<WindowResult>(api, `/windows?device=${device}`)).filter((window) => window.metric === metric)
    const closedTs = (readings.at(-1)?.ts ?? 0) - sizeMs
    windowsChecked += emitted.length
    faults.push(...windowFaults({ device, metric, readings, emitted, sizeMs, closedTs }))
  }
  return { windowsChecked, windowFaults: faults }
}

async function everything<T>(api: ApiView, path: string): Promise<T[]> {
  const all: T[] = []
  for (let cursor: string | null = ''; cursor !== null;) {
    const page: { items: T[]; next: string | null } = await api.get(
      `${path}&limit=${PAGE_ITEMS}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    )
    all.push(...page.items)
    cursor = page.next
  }
  return all
}

/** Makes it happen and mends it; answers what it was. */
async function happen(calamity: Calamity, options: ChaosOptions, balancer: Balancer, random: Random): Promise<string> {
  const { cluster, servers } = options
  const awayMs = integerBetween(random, 200, 3_000)
  switch (calamity) {
    case 'kill edge':
    case 'kill processing':
    case 'kill anomaly':
    case 'kill alerts':
    case 'kill agents':
    case 'kill registry':
    case 'kill dashboard': {
      const target = calamity.slice('kill '.length)
      const victim = pick(
        cluster.members.filter(({ targets }) => targets.some((own) => own === target)),
        random,
      )
      await victim.process.kill()
      await wait(awayMs)
      await cluster.start(victim)
      return `kill -9 ${victim.name}, started again after ${awayMs} ms`
    }
    case 'kafka':
    case 'questdb': {
      await servers[calamity].kill()
      await wait(awayMs)
      await servers[calamity].start()
      return `kill -9 ${calamity}, started again after ${awayMs} ms`
    }
    case 'mongodb': {
      await servers.mongodb.stop()
      await wait(awayMs)
      await servers.mongodb.start()
      return `stopped the MongoDB stand-in, started again after ${awayMs} ms`
    }
    case 'add': {
      const target = pick(COPIED, random)
      const { name } = await cluster.add(`${target}-${cluster.members.length + 1}`, target)
      return `added ${name}`
    }
    case 'remove':
      return removeCopy(cluster, random)
    case 'cut':
      return `cut ${balancer.cut(0.5, () => random.next())} connections`
  }
}

/** Stops a process of a target that others run as well. */
async function removeCopy(cluster: Cluster, random: Random): Promise<string> {
  const spare = cluster.members.filter((member) => member.targets.every((target) => COPIED.includes(target) && count(cluster, target) > 1))
  if (spare.length === 0) return 'nothing to remove'
  const victim: Member = pick(spare, random)
  await cluster.take(victim)
  return `removed ${victim.name}`
}

function count(cluster: Cluster, target: Target): number {
  return cluster.members.filter((member) => member.targets.includes(target)).length
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  const rest = [...items]
  return items.map(() => rest.splice(integerBetween(random, 0, rest.length - 1), 1)[0] as T)
}

function pick<T>(items: readonly T[], random: Random): T {
  return items[integerBetween(random, 0, items.length - 1)] as T
}
