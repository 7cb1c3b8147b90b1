import type { Counter } from 'prom-client'
import type { AuditTrail } from '../../contracts/audit.ts'
import type { StatementSigner } from '../../contracts/statement.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { SeriesStore } from '../../storage/series/series-store.ts'
import type { Registry } from '../registry.ts'
import { BrokerAnswers } from './broker-answers.ts'
import { BrokerSteps } from './broker-steps.ts'
import { decommissionConfig, type DecommissionConfig } from './config.ts'
import { JobRunner, type StepWork } from './job-runner.ts'
import { openJobs, type Job, type StoredJob } from './job.ts'
import { LifeSteps } from './life-steps.ts'
import { done, type Outcome } from './outcome.ts'
import type { DeviceCredentials, DeviceTraces } from './ports.ts'
import { ReadingsStep } from './readings-step.ts'
import { signReceipt, statementOf } from './receipt.ts'
import { WipeAnswers } from './wipe-answers.ts'

export interface DecommissionWorkOptions {
  documents: Documents
  eventLog: EventLog
  series: SeriesStore
  registry: Registry
  credentials: DeviceCredentials
  signer: StatementSigner
  auditTrail: AuditTrail
  clock: Clock
  log: Logger
  metrics: Metrics
  decommissionConfig?: DecommissionConfig
  traces?: DeviceTraces
}

interface Running {
  jobs: Collection<Job>
  wipeAnswers: WipeAnswers
  runner: JobRunner
  looks: Timer
}

/**
 * Leads devices out: everything that could bring one back, or that it has left behind, goes in an order in which a crash at any moment leaves
 * something to go on from; in the end a signed receipt says what was done. Runs in one process, that of the target `registry`.
 */
export class DecommissionWork implements Service {
  readonly name = 'decommission-work'
  readonly #options: DecommissionWorkOptions
  readonly #config: DecommissionConfig
  readonly #doneTotal: Counter<'kind'>
  #starting: Promise<Running> | undefined
  #running: Running | undefined

  constructor(options: DecommissionWorkOptions) {
    this.#options = options
    this.#config = options.decommissionConfig ?? decommissionConfig()
    const { metrics } = options
    this.#doneTotal = metrics.counter('registry_decommissions_total', 'Devices that were decommissioned or transferred, by kind', ['kind'])
    metrics.gaugeOf('registry_decommissions_running', 'Devices on their way out', () => this.#running?.runner.size ?? 0)
  }

  /** Goes on with what a stop or a crash cut short, and takes up what is asked for from now on. */
  async start(): Promise<void> {
    this.#starting ??= this.#begin()
    try {
      this.#running = await this.#starting
    } catch (error) {
      this.#starting = undefined
      throw error
    }
  }

  async stop(): Promise<void> {
    const starting = this.#starting
    this.#starting = undefined
    this.#running = undefined
    const running = await starting
    running?.looks.cancel()
    await running?.wipeAnswers.stop()
    await running?.runner.stop()
  }

  async #begin(): Promise<Running> {
    const { documents, eventLog, clock, log } = this.#options
    const jobs = await openJobs(documents)
    const answers = new BrokerAnswers(documents, eventLog)
    await answers.open()
    const runner = new JobRunner({
      ...{ jobs, clock, log, retryMs: this.#config.retryMs },
      work: this.#work(answers),
      onDone: (job) => this.#onDone(job, answers),
    })
    const wipeAnswers = new WipeAnswers({ eventLog, clock, log, jobs, onAnswer: (key) => runner.wake(key) })
    await wipeAnswers.start()
    const look = async (): Promise<void> => {
      for (const { _id } of await jobs.find({ state: 'running' })) runner.run(_id)
    }
    await look()
    const looks = every(clock, this.#config.pollMs, look, (error) =>
      log.warn({ error: describeError(error) }, 'devices that are to leave could not be looked for'),
    )
    return { jobs, wipeAnswers, runner, looks }
  }

  #work(answers: BrokerAnswers): StepWork {
    const broker = new BrokerSteps({ ...this.#options, answers, config: this.#config })
    const life = new LifeSteps(this.#options)
    const readings = new ReadingsStep({ ...this.#options, config: this.#config })
    return {
      lock: (job) => life.lock(job),
      cancel: (job) => broker.cancel(job),
      wipe: (job) => broker.wipe(job),
      revoke: (job) => life.revoke(job),
      readings: (job) => readings.run(job),
      forget: (job) => broker.forget(job),
      tombstone: (job) => life.tombstone(job),
      admit: (job) => life.admit(job),
      receipt: (job) => this.#sign(job),
    }
  }

  async #sign(job: StoredJob): Promise<Outcome> {
    const { registry, signer, clock } = this.#options
    const statement = statementOf(job, await registry.history(job.tenant, job.device), clock.nowMs())
    return done({ receipt: await signReceipt(signer, statement) })
  }

  async #onDone(job: StoredJob, answers: BrokerAnswers): Promise<void> {
    const { kind, tenant, device, id } = job
    this.#doneTotal.inc({ kind })
    this.#options.log.info({ tenant, device, job: id, kind }, 'device is out; its receipt is signed')
    await answers.drop(BrokerSteps.requestsOf(job))
  }
}
