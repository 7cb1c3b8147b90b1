import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Metrics } from '../../../kernel/metrics.ts'
import type { SeriesConfig } from '../config.ts'
import { openStore } from './store.ts'
import { offsetsAfter, ReadingSource } from './contract-engine.ts'

/** What a store in another process can be told. Each order is answered by one message. */
export type Order =
  | { order: 'open' }
  | { order: 'write'; rows: number }
  | { order: 'write-for-ever'; rows: number }
  | { order: 'count' }
  | { order: 'reopens' }
  | { order: 'stop' }
export type Answer = { stored: number } | { reopens: number } | { code: string; message: string; retryable: boolean }

const PARTITIONS = 3

export interface ChildOptions {
  directory: string
  config: Partial<SeriesConfig>
}

/** A process with a store of its own, to be killed or kept short of disk. `launcher` is put before node, for instance `['prlimit', '--fsize=…']`. */
export class StoreChild {
  readonly process: ChildProcess
  readonly #answers: Answer[] = []
  #notify: () => void = () => undefined
  /** Rows known stored by the last answer. */
  stored = 0

  constructor(options: ChildOptions, launcher: readonly string[] = []) {
    const [execPath = process.execPath, ...execArgv] = [...launcher, process.execPath]
    this.process = fork(fileURLToPath(import.meta.url), [JSON.stringify(options)], {
      execPath,
      execArgv,
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    this.process.on('message', (answer: Answer) => {
      if ('stored' in answer) this.stored = answer.stored
      this.#answers.push(answer)
      this.#notify()
    })
    this.process.on('exit', () => this.#notify())
  }

  async ask(order: Order): Promise<Answer> {
    this.process.send(order)
    return await this.next()
  }

  /** The next answer; throws when the process ended without one. */
  async next(): Promise<Answer> {
    for (;;) {
      const answer = this.#answers.shift()
      if (answer !== undefined) return answer
      if (this.process.exitCode !== null || this.process.signalCode !== null) throw new Error('the child process ended')
      await new Promise<void>((resolve) => (this.#notify = resolve))
    }
  }

  async kill(): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const gone = once(this.process, 'exit')
    this.process.kill('SIGKILL')
    await gone
  }
}

/** The rows at the given global numbers: number `n` is offset `n / 3` of partition `n % 3`, and its seq is `n`. */
function* numberedRows(from: number, count: number) {
  const source = new ReadingSource()
  for (let number = 0; number < from + count; number++) {
    const reading = source.reading({
      partition: number % PARTITIONS,
      device: `device-${number % 7}`,
      type: `type-${number % 2}`,
      seq: number,
      values: { temperature: number / 7, [`sometimes-${Math.floor(number / 5_000)}`]: true, note: `text that is not short ${number}` },
    })
    if (number >= from) yield reading
  }
}

async function serve(options: ChildOptions): Promise<void> {
  const metrics = new Metrics()
  const store = await openStore(options.directory, { config: options.config, metrics })
  const write = async (rows: number): Promise<number> => {
    const from = [...(await store.positions()).values()].reduce((sum, next) => sum + next, 0)
    const readings = [...numberedRows(from, rows)]
    await store.write(readings, offsetsAfter(readings))
    return from + rows
  }
  const obey = async (order: Order): Promise<void> => {
    try {
      if (order.order === 'open') process.send?.({ stored: await store.count('default') })
      if (order.order === 'count') process.send?.({ stored: await store.count('default') })
      if (order.order === 'reopens') process.send?.({ reopens: await reopensOf(metrics) })
      if (order.order === 'write') process.send?.({ stored: await write(order.rows) })
      while (order.order === 'write-for-ever') process.send?.({ stored: await write(order.rows) })
      if (order.order === 'stop') {
        await store.stop()
        process.send?.({ stored: 0 })
        process.disconnect()
      }
    } catch (error) {
      const { code, message, retryable } = error as { code: string; message: string; retryable: boolean }
      process.send?.({ code, message, retryable })
    }
  }
  process.on('message', (order: Order) => void obey(order))
}

async function reopensOf(metrics: Metrics): Promise<number> {
  const metric = await metrics.registry.getSingleMetric('fleetpulse_series_file_reopens_total')?.get()
  return metric?.values[0]?.value ?? 0
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await serve(JSON.parse(String(process.argv[2])) as ChildOptions)
