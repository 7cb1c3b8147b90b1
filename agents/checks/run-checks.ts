import { setMaxListeners } from 'node:events'
import { describeError, TimeoutError } from '../../kernel/errors.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import { failureOf } from '../evidence/tool-spans.ts'
import type { Check, CheckContext, CheckName, CheckOutcome } from './check.ts'
import { changes, pipeline, security } from './record-checks.ts'
import { coMoving, gap, peers } from './surrounding-checks.ts'
import { drift, flatline, levelShift, spike, threshold, variance } from './value-checks.ts'

const CHECKS: Readonly<Record<CheckName, Check>> = {
  threshold,
  spike,
  level_shift: levelShift,
  drift,
  variance,
  flatline,
  gap,
  peers,
  co_moving: coMoving,
  changes,
  security,
  pipeline,
}

/** All twelve side by side, within one bound: none waits for another, and a source that hangs costs only the checks that need it. */
export async function runChecks(context: CheckContext, clock: Clock, signal: AbortSignal): Promise<CheckOutcome[]> {
  const deadline = new Deadline(context.config.checkTimeoutMs, clock, signal)
  try {
    return await Promise.all(Object.values(CHECKS).map((check) => runOne(check, context, deadline)))
  } finally {
    deadline.cancel()
  }
}

async function runOne(check: Check, context: CheckContext, deadline: Deadline): Promise<CheckOutcome> {
  const { name } = check
  try {
    const result = await context.tools.run(
      'function',
      `check_${name}`,
      (tools) => deadline.of(check.run({ ...context, tools, ask: (query) => context.ask(query, tools) })),
      ({ status, interesting }) => ({ attributes: { 'check.status': status, 'check.interesting': String(interesting) } }),
    )
    return { name, ...result, failure: null }
  } catch (error) {
    const failure = failureOf(error)
    context.log.warn({ check: name, incident: context.subject.incident, error: describeError(error) }, 'a check could not be made')
    return { name, status: 'error', interesting: false, facts: [], evidence: [], signals: {}, failure }
  }
}

/** One instant by which several things must be done. */
export class Deadline {
  readonly #done = new AbortController()
  readonly #over = new AbortController()
  readonly #late: Promise<never>
  readonly #forget: () => void

  constructor(timeoutMs: number, clock: Clock, signal: AbortSignal) {
    // Each question that is asked within it listens: how many they are, checks and settings bound.
    setMaxListeners(0, this.#over.signal)
    const forget = (): void => this.#done.abort()
    signal.addEventListener('abort', forget, { once: true })
    this.#forget = () => {
      signal.removeEventListener('abort', forget)
      forget()
    }
    this.#late = sleep(clock, signal.aborted ? 0 : timeoutMs, this.#done.signal).then(() => {
      this.#over.abort()
      throw new TimeoutError(`it took more than ${timeoutMs} ms`)
    })
    // Whoever waits for it hears of it; nobody may.
    this.#late.catch(() => undefined)
  }

  /** Aborts when the time is up, the given signal aborts, or `cancel` is called: what is still asked then is asked for nobody. */
  get signal(): AbortSignal {
    return this.#over.signal
  }

  /** Throws TimeoutError when the time is up first, or the signal aborts. */
  of<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#late])
  }

  cancel(): void {
    this.#forget()
    this.#over.abort()
  }
}

/** One thing with a bound of its own. */
export async function within<T>(work: Promise<T>, timeoutMs: number, clock: Clock, signal: AbortSignal): Promise<T> {
  const deadline = new Deadline(timeoutMs, clock, signal)
  try {
    return await deadline.of(work)
  } finally {
    deadline.cancel()
  }
}
