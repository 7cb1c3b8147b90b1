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
import type { BuildContext } from './module.ts'
import { OperationsServer } from './operations-server.ts'
import { addressesOf, type Addresses, type ReadyLine } from './ready.ts'
import type { Target } from './targets.ts'
import type { FromRoad, PlainError, RoadThreadData, ToRoad } from './thread-link.ts'

/** Longest stop of the road thread: its services stop within their own bounds well before. */
const ROAD_STOP_TIMEOUT_MS = 8_000

/**
 * The platform, or some of its targets, in one process. Where the edge is not alone, the broker and ingest keep this thread and everything
 * else has the road thread; otherwise one thread does.
 */
export class Platform {
  readonly #config: Config
  readonly #targets: readonly Target[]
  readonly #log: Logger
  readonly #metrics = new Metrics()
  readonly #folder: DataFolder
  readonly #onFailure: (error: Error) => void
  #road: Worker | undefined
  /** What runs in this thread. */
  #assembly: Assembly | undefined
  #operations: OperationsServer | undefined
  #processId = ''
  #tls: TlsMaterial | undefined
  #starting: Promise<ReadyLine> | undefined
  #stopping: Promise<void> | undefined
  readonly #stopAsked = new AbortController()
  #roadStarted = false
  /** The road thread was told to stop: its end is no failure. */
  #roadMayEnd = false

  /** `onFailure` is told when a part dies while running: the process should then stop. */
  constructor(options: { config: Config; targets: readonly Target[]; onFailure: (error: Error) => void }) {
    this.#config = options.config
    this.#targets = options.targets
    this.#onFailure = options.onFailure
    this.#log = createLogger({
      level: options.config.platform.logLevel,
      name: options.targets.includes('edge') ? 'edge' : options.targets.join('+'),
    })
    this.#folder = new DataFolder(options.config.platform.dataDirectory)
  }

  get dataDirectory(): string {
    return this.#folder.path
  }
  get log(): Logger {
    return this.#log
  }

  start(): Promise<ReadyLine> {
    this.#starting ??= this.#startAll()
    return this.#starting
  }

  /** Drains and frees everything: the edge first, so that nothing new comes in. A start that is under way rejects. */
  stop(): Promise<void> {
    this.#stopAsked.abort()
    if (!this.#roadStarted) this.#tell({ kind: 'stop' })
    this.#stopping ??= Promise.allSettled([this.#starting]).then(() => this.#stopAll())
    return this.#stopping
  }

  async #startAll(): Promise<ReadyLine> {
    await this.#folder.open()
    try {
      this.#processId = await this.#folder.processId()
      this.#stopAsked.signal.throwIfAborted()
      const isSplit = this.#targets.includes('edge') && this.#targets.length > 1
      const ofRoad = isSplit ? await this.#startRoad() : {}
      this.#metrics.collectProcess()
      this.#assembly = await assemble(this.#context(), isSplit ? ['edge'] : this.#targets)
      this.#assembly.parts.edgeCertificate?.onServerCertificate(() => this.#reloadTls())
      // A certificate or a staple that came while the parts were built reached no listener.
      this.#reloadTls()
      const addresses = { ...addressesOf(this.#assembly), ...ofRoad, ...(isSplit ? {} : await this.#startOperations()) }
      await this.#folder.publish({ pid: process.pid, startedAt: systemClock.nowMs(), ...addresses })
      return { ready: true, ...addresses, data: this.#folder.path }
    } catch (error) {
      await this.#stopAll()
      throw error
    }
  }

  /** The API answers them where it runs; with two threads the road thread does. */
  async #startOperations(): Promise<Addresses> {
    if (this.#targets.includes('dashboard')) return {}
    const { operationsHost: host, operationsPort: port } = this.#config.platform
    this.#operations = new OperationsServer({ host, port, operations: this.#context().operations })
    await this.#operations.start()
    return { operations: this.#operations.origin }
  }

  async #stopAll(): Promise<void> {
    this.#roadMayEnd = true
    await this.#operations?.stop()
    const assembly = this.#assembly
    this.#assembly = undefined
    await assembly?.stop()
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

  #startRoad(): Promise<Addresses> {
    const workerData: RoadThreadData = {
      config: this.#config,
      targets: this.#targets,
      processId: this.#processId,
      dataDirectory: this.#folder.path,
    }
    const road = new Worker(new URL('./road-thread.js', import.meta.url), { workerData })
    this.#road = road
    return new Promise((resolve, reject) => {
      let started = false
      road.on('message', (message: FromRoad) => {
        if (message.kind === 'started') {
          started = this.#roadStarted = true
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
      this.#assembly?.parts.broker?.reloadTls()
    } catch (error) {
      this.#log.error({ error: describeError(error) }, 'the new server certificate is not used')
    }
  }

  /** Who asks waits for a bounded time: what cannot be answered is only logged. */
  async #answer(id: number, question: 'metrics' | 'not-ready'): Promise<void> {
    try {
      if (question === 'metrics') this.#tell({ kind: 'answer', id, answer: await this.#metrics.families() })
      else this.#tell({ kind: 'answer', id, answer: this.#notReady() })
    } catch (error) {
      this.#log.error({ question, error: describeError(error) }, 'the edge could not answer')
    }
  }

  #tell(message: ToRoad): void {
    this.#road?.postMessage(message)
  }

  #notReady(): Record<string, string> {
    return this.#assembly === undefined ? { [this.#targets[0] ?? 'edge']: 'is not running' } : this.#assembly.notReady()
  }

  #context(): BuildContext {
    return {
      config: this.#config,
      targets: this.#targets,
      processId: this.#processId,
      dataDirectory: this.#folder.path,
      clock: systemClock,
      random: systemRandom,
      log: this.#log,
      metrics: this.#metrics,
      operations: { metricsText: () => this.#metrics.registry.metrics(), notReady: async () => this.#notReady() },
      stopAsked: this.#stopAsked.signal,
      tls: () => {
        if (this.#tls === undefined) throw new TimeoutError('the server certificate is not there yet')
        return this.#tls
      },
    }
  }
}

function fromPlain(error: PlainError): FleetpulseError {
  return new FleetpulseError(error.code, error.fault, error.message, error.remedy === undefined ? {} : { remedy: error.remedy })
}
