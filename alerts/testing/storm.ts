import { fork, type ChildProcess } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Random } from '../../kernel/random.ts'
import { sleep, systemClock } from '../../kernel/time.ts'

export interface StormOptions {
  alerts: number
  perSecond: number
  /** How often the worker, and how often the receiver, is killed with SIGKILL. */
  workerKills: number
  receiverKills: number
  random: Random
  timeoutMs: number
}

export interface StormOutcome {
  /** Devices of which no alert arrived. */
  lost: number
  /** Devices of which more than one alert arrived. */
  doubled: number
  /** Messages without an idempotency id, and ids that name two different things. */
  withoutId: number
  ambiguousIds: number
  /** Messages that came again: at least once is promised. */
  repeats: number
  incidents: number
  rssMaxBytes: number
  seconds: number
}

interface Line {
  webhookId: string | null
  type: string
  device?: string
  alert?: string
  incident?: string
}

const WORKER = fileURLToPath(new URL('./storm-child.js', import.meta.url))
const RECEIVER = fileURLToPath(new URL('./receiver-child.js', import.meta.url))

/** A storm of alerts through worker, webhooks and receiver, all of which are killed at moments drawn by chance. */
export async function runStorm(options: StormOptions): Promise<StormOutcome> {
  const folder = await mkdtemp(join(tmpdir(), 'fleetpulse-storm-'))
  const file = join(folder, 'received.jsonl')
  const startMs = systemClock.monotonicMs()
  let [rssMaxBytes, worker, receiver]: [number, ChildProcess | undefined, ChildProcess | undefined] = [0, undefined, undefined]
  try {
    const listening = await startReceiver('0', file)
    receiver = listening.child
    const url = `http://127.0.0.1:${listening.port}/hook`
    const startWorker = (): ChildProcess => {
      const child = fork(WORKER, [folder, String(options.alerts), String(options.perSecond), url], {
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      })
      child.on('message', ({ rssBytes }: { rssBytes: number }) => (rssMaxBytes = Math.max(rssMaxBytes, rssBytes)))
      return child
    }
    worker = startWorker()
    const kills = shuffled(
      [...Array<'worker'>(options.workerKills).fill('worker'), ...Array<'receiver'>(options.receiverKills).fill('receiver')],
      options.random,
    )
    const step = options.alerts / (kills.length + 1)
    for (const [i, victim] of kills.entries()) {
      await arrived(file, Math.floor(step * (i + options.random.next())), options, startMs)
      if (victim === 'worker') {
        await kill(worker)
        worker = startWorker()
      } else {
        await kill(receiver)
        await sleep(systemClock, Math.floor(options.random.next() * 500))
        receiver = (await startReceiver(String(listening.port), file)).child
      }
    }
    await arrived(file, options.alerts, options, startMs)
    return { ...judge(read(file), options.alerts), rssMaxBytes, seconds: Math.round(systemClock.monotonicMs() - startMs) / 1_000 }
  } finally {
    await kill(worker)
    await kill(receiver)
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
  }
}

function judge(lines: readonly Line[], wanted: number): Omit<StormOutcome, 'rssMaxBytes' | 'seconds'> {
  const alertsOf = new Map<string, Set<string>>()
  const meant = new Map<string, string>()
  let ambiguousIds = 0
  for (const { webhookId, type, device, alert, incident } of lines) {
    if (device !== undefined) alertsOf.set(device, (alertsOf.get(device) ?? new Set()).add(alert ?? ''))
    const what = `${type} ${alert ?? incident}`
    if (webhookId !== null && (meant.get(webhookId) ?? what) !== what) ambiguousIds++
    if (webhookId !== null) meant.set(webhookId, what)
  }
  return {
    lost: wanted - alertsOf.size,
    doubled: [...alertsOf.values()].filter((ids) => ids.size > 1).length,
    withoutId: lines.filter(({ webhookId }) => webhookId === null).length,
    ambiguousIds,
    repeats: lines.length - meant.size,
    incidents: new Set(lines.flatMap(({ incident }) => incident ?? [])).size,
  }
}

/** Until so many different alerts arrived, or the time is over: what is missing then is found by who judges. */
async function arrived(file: string, wanted: number, { timeoutMs }: StormOptions, startMs: number): Promise<void> {
  while (new Set(read(file).flatMap(({ alert }) => alert ?? [])).size < wanted) {
    if (systemClock.monotonicMs() - startMs > timeoutMs) return
    await sleep(systemClock, 100)
  }
}

/** A line that a kill cut short was never answered, and comes again. */
function read(file: string): Line[] {
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => (line.endsWith('}') && line.startsWith('{') && !line.slice(1).includes('{') ? [JSON.parse(line) as Line] : []))
}

function startReceiver(port: string, file: string): Promise<{ child: ChildProcess; port: number }> {
  const child = fork(RECEIVER, [port, file])
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve({ child, port: (message as { port: number }).port }))
    child.once('exit', (code) => reject(new Error(`the receiver ended with ${code}`)))
  })
}

async function kill(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const ended = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await ended
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, at: random.next() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item)
}
