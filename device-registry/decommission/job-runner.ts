import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Update } from '../../storage/documents/documents.ts'
import { STEPS, type Job, type StepName, type StoredJob } from './job.ts'
import type { Outcome } from './outcome.ts'

/** Nothing waits longer than this without looking: timers of Node end at 24 days. */
const WAIT_MS_MAX = 3_600_000

/** One turn of each step. Every turn may come again after a crash, and must then change nothing more. */
export type StepWork = Readonly<Record<StepName, (job: StoredJob) => Promise<Outcome>>>

export interface JobRunnerOptions {
  jobs: Collection<Job>
  clock: Clock
  log: Logger
  retryMs: number
  work: StepWork
  onDone: (job: StoredJob) => Promise<void>
}

/** Leads jobs through their steps; what is done is saved before the next thing begins, so that a start goes on where a crash ended. */
export class JobRunner {
  readonly #options: JobRunnerOptions
  readonly #stopping = new AbortController()
  readonly #running = new Map<string, Promise<void>>()
  readonly #wakes = new Map<string, () => void>()
  /** Jobs for which something came in while nobody waited: their next wait ends at once. */
  readonly #woken = new Set<string>()

  constructor(options: JobRunnerOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#running.size
  }

  /** Goes on with a job; one that is running already is left alone. */
  run(key: string): void {
    if (this.#running.has(key) || this.#stopping.signal.aborted) return
    this.#running.set(
      key,
      this.#lead(key).finally(() => {
        this.#running.delete(key)
        this.#woken.delete(key)
      }),
    )
  }

  /** Something came in that the job may wait for. */
  wake(key: string): void {
    if (!this.#running.has(key)) return
    this.#woken.add(key)
    this.#wakes.get(key)?.()
  }

  /** Ends after the turns in hand. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const wake of this.#wakes.values()) wake()
    await Promise.allSettled([...this.#running.values()])
  }

  async #lead(key: string): Promise<void> {
    const { jobs, log, retryMs } = this.#options
    while (!this.#stopping.signal.aborted) {
      try {
        this.#woken.delete(key)
        const job = await jobs.get(key)
        if (job?.state !== 'running') return
        await this.#turn(key, job)
      } catch (error) {
        log.error({ job: key, error: describeError(error) }, 'a step of decommissioning failed, trying again')
        await this.#complain(key, describeError(error))
        await this.#wait(key, retryMs)
      }
    }
  }

  async #turn(key: string, job: StoredJob): Promise<void> {
    const { clock, onDone } = this.#options
    const outcome = await this.#options.work[job.step](job)
    if (outcome.status === 'wait') {
      if ((outcome.trouble ?? null) !== job.trouble) await this.#save(job, { $set: { trouble: outcome.trouble ?? null } })
      await this.#wait(key, outcome.ms)
    } else if (outcome.status === 'progress') {
      await this.#save(job, { $set: { progress: outcome.progress, trouble: null } })
    } else {
      const nowMs = clock.nowMs()
      const { receipt, ...result } = outcome.result
      const done = { name: job.step, startedAt: job.stepStartedAt, doneAt: nowMs, result }
      const next = STEPS[STEPS.indexOf(job.step) + 1]
      const onward = next === undefined ? { state: 'done', receipt } : { step: next, stepStartedAt: nowMs }
      const saved = await this.#save(job, { $push: { steps: done }, $set: { progress: {}, trouble: null, ...onward } })
      if (saved?.state === 'done') await onDone(saved)
    }
  }

  /** Whoever changed the job meanwhile (an answer came) wins: the turn is made anew. */
  async #save(job: StoredJob, update: Update): Promise<StoredJob | undefined> {
    const result = await this.#options.jobs.update(job._id, update, job.version)
    return result.status === 'written' ? result.document : undefined
  }

  async #complain(key: string, trouble: string): Promise<void> {
    try {
      await this.#options.jobs.update(key, { $set: { trouble } })
    } catch (error) {
      // The store is what is in trouble; the log has said so.
      this.#options.log.debug({ job: key, error: describeError(error) }, 'trouble not noted')
    }
  }

  #wait(key: string, ms: number): Promise<void> {
    if (this.#stopping.signal.aborted || this.#woken.has(key)) return Promise.resolve()
    return new Promise((resolve) => {
      const wake = (): void => {
        timer.cancel()
        this.#wakes.delete(key)
        resolve()
      }
      const timer = this.#options.clock.after(Math.min(Math.max(1, ms), WAIT_MS_MAX), wake)
      this.#wakes.set(key, wake)
    })
  }
}
