import { Worker } from 'node:worker_threads'
import { FleetpulseError, InternalError, TimeoutError, describeError } from '../kernel/errors.ts'
import { createLogger, type Logger } from '../kernel/log.ts'
import { Metrics } from '../kernel/metrics.ts'
import { systemRandom } from '../kernel/random.ts'
import { withTimeout } from '../kernel/retry.ts'
import { systemClock } from '../kernel/time.ts'
import type { TlsMaterial } from '../kernel/tls.ts'
import { assemble, type Assembly } from './assemble.ts'
import type { Config } from './config-sections.ts'
import { DataFolder } from './data-folder.ts'
import type { FromRoad, PlainError, RoadAddresses, RoadThreadData, ToRoad } from './thread-link.ts'

/** What was bound, as `--print-ready` prints it. */
export interface Ready {
  ready: true
  mqtts: number
  wss: number
  https: number
  api: string
  data: string
  pki: string
  lab?: number
}

/** Longest stop of the road thread: its services stop within their own bounds well before. */
const ROAD_STOP_TIMEOUT_MS = 8_000

/** The whole platform in one process: the broker and ingest here, everything else in the road thread. */
export class Platform {
  readonly #config: Config
  readonly #log: Logger
  readonly #metrics = new Metrics()
  readonly #folder: DataFolder
  readonly #onFailure: (error: Error) => void
  #road: Worker | undefined
  #edge: Assembly | undefined
  #tls: TlsMaterial | undefined
  #starting: Promise<Ready> | undefined
  #stopping: Promise<void> | undefined
  /** The road thread was told to stop: its end is no failure. */
  #roadMayEnd = false

  /** `onFailure` is told when a part dies while running: the process should then stop. */
  constructor(options: { config: Config; onFailure: (error: Error) => void }) {
    this.#config = options.config
    this.#onFailure = options.onFailure
    this.#log = createLogger({ level: options.config.platform.logLevel, name: 'edge' })
    this.#folder = new DataFolder(options.config.platform.dataDirectory)
  }

  get dataDirectory(): string {
    return this.#folder.path
  }
  get log(): Logger {
    return this.#log
  }

  start(): Promise<Ready> {
    this.#starting ??= this.#startAll()
    return this.#starting
  }

  /** Drains and frees everything: the edge first, so that nothing new comes in. A start that is under way is finished before. */
  stop(): Promise<void> {
    this.#stopping ??= Promise.allSettled([this.#starting]).then(() => this.#stopAll())
    return this.#stopping
  }

  async #startAll(): Promise<Ready> {
    await this.#folder.open()
    try {
      const addresses = await this.#startRoad()
      this.#metrics.collectProcess()
      this.#edge = await assemble(this.#edgeContext(), ['edge'])
      return await this.#publish(addresses, this.#edge)
    } catch (error) {
      await this.#stopAll()
      throw error
    }
  }

  async #stopAll(): Promise<void> {
    this.#roadMayEnd = true
    const edge = this.#edge
    this.#edge = undefined
    await edge?.stop()
    const road = this.#road
    if (road !== undefined) {
      const exited = new Promise<void>((resolve) => road.once('exit', () => resolve()))
      this.#tell({ kind: 'stop' })
      await withTimeout(systemClock, ROAD_STOP_TIMEOUT_MS, 'stopping the road thread', exited).catch(async (error: unknown) => {
        this.#log.error({ error: describeError(error) }, 'the road thread did not stop by itself')
        await road.terminate()
      })
    }
    this.#folder.close()
  }

  #startRoad(): Promise<RoadAddresses> {
    const workerData: RoadThreadData = { config: this.#config, dataDirectory: this.#folder.path }
    const road = new Worker(new URL('./road-thread.js', import.meta.url), { workerData })
    this.#road = road
    return new Promise((resolve, reject) => {
      let started = false
      road.on('message', (message: FromRoad) => {
        if (message.kind === 'started') {
          started = true
          this.#tls = message.tls
          resolve(message.addresses)
        } else if (message.kind === 'failed') reject(fromPlain(message.error))
        else this.#onMessage(message)
      })
      road.on('error', (error) => {
        reject(error)
        if (started && !this.#roadMayEnd) this.#onFailure(error)
      })
      road.on('exit', (code) => {
        this.#road = undefined
        reject(new InternalError(`the road thread ended with code ${code}`))
        if (started && !this.#roadMayEnd) this.#onFailure(new InternalError(`the road thread ended with code ${code}`))
      })
    })
  }

  #onMessage(message: FromRoad): void {
    if (message.kind === 'tls') {
      this.#tls = message.tls
      this.#reloadTls()
    } else if (message.kind === 'ask') void this.#answer(message.id, message.question)
  }

  /** A certificate that cannot be used must not end the process: the old one serves on. */
  #reloadTls(): void {
    try {
      this.#edge?.parts.broker?.reloadTls()
    } catch (error) {
      this.#log.error({ error: describeError(error) }, 'the new server certificate is not used')
    }
  }

  /** Who asks waits for a bounded time: what cannot be answered is only logged. */
  async #answer(id: number, question: 'metrics' | 'not-ready'): Promise<void> {
    try {
      if (question === 'metrics') this.#tell({ kind: 'answer', id, answer: await this.#metrics.families() })
      else this.#tell({ kind: 'answer', id, answer: this.#edge === undefined ? { edge: 'is not running' } : this.#edge.notReady() })
    } catch (error) {
      this.#log.error({ question, error: describeError(error) }, 'the edge could not answer')
    }
  }

  #tell(message: ToRoad): void {
    this.#road?.postMessage(message)
  }

  #edgeContext() {
    return {
      config: this.#config,
      dataDirectory: this.#folder.path,
      clock: systemClock,
      random: systemRandom,
      log: this.#log,
      metrics: this.#metrics,
      operations: { metricsText: () => this.#metrics.registry.metrics(), notReady: () => Promise.resolve({}) },
      tls: () => {
        if (this.#tls === undefined) throw new TimeoutError('the server certificate is not there yet')
        return this.#tls
      },
    }
  }

  async #publish(addresses: RoadAddresses, edge: Assembly): Promise<Ready> {
    const ports = edge.parts.broker?.ports
    if (ports === undefined) throw new InternalError('the broker does not listen')
    const lab = edge.parts.lab?.port
    const ready: Ready = { ready: true, ...ports, https: addresses.https, api: addresses.api, data: this.#folder.path, pki: addresses.pki, ...(lab === undefined ? {} : { lab }) }
    await this.#folder.publish({ pid: process.pid, startedAt: systemClock.nowMs(), ...ports, https: ready.https, api: ready.api, pki: ready.pki })
    return ready
  }
}

function fromPlain(error: PlainError): FleetpulseError {
  return new FleetpulseError(error.code, error.fault, error.message, error.remedy === undefined ? {} : { remedy: error.remedy })
}
