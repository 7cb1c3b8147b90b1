import type { AuditedAct, AuditTrail } from '../../contracts/audit.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'

/** What is refused or failed often is told by its first and by a count: nobody may fill the trail by asking in vain. */
export class RefusalLog {
  readonly #options: { trail: AuditTrail; clock: Clock; log: Logger; windowMs: number; kindsMax: number }
  /** By kind: what it was, and how many came after the first. */
  #kinds = new Map<string, { act: AuditedAct; more: number }>()
  readonly #timer: Timer

  constructor(options: { trail: AuditTrail; clock: Clock; log: Logger; windowMs: number; kindsMax: number }) {
    this.#options = options
    this.#timer = every(options.clock, options.windowMs, () => this.#flush(), this.#onError)
  }

  /** Nothing was done, so that the answer stands even where this cannot be recorded; the log then has it. */
  async note(act: AuditedAct): Promise<void> {
    const { trail, kindsMax } = this.#options
    const own = JSON.stringify([act.tenant, act.actor, act.origin, act.action, act.outcome])
    const isRoom = this.#kinds.has(own) || this.#kinds.size < kindsMax
    const key = isRoom ? own : JSON.stringify([act.tenant, act.outcome])
    const known = this.#kinds.get(key)
    if (known !== undefined) {
      known.more++
      return
    }
    this.#kinds.set(key, { act: isRoom ? act : manyOf(act), more: 0 })
    await trail.record(act).catch(this.#onError)
  }

  async stop(): Promise<void> {
    this.#timer.cancel()
    await this.#flush().catch(this.#onError)
  }

  async #flush(): Promise<void> {
    const kinds = this.#kinds
    this.#kinds = new Map()
    const repeated = [...kinds.values()].filter(({ more }) => more > 0)
    await Promise.all(repeated.map(({ act, more }) => this.#options.trail.record({ ...act, count: more })))
  }

  readonly #onError = (error: unknown): void => {
    this.#options.log.error({ error: describeError(error) }, 'refused requests could not be recorded')
  }
}

/** Stands for kinds that were too many to be told apart. */
function manyOf({ tenant, outcome }: AuditedAct): AuditedAct {
  return {
    tenant,
    actor: 'anonymous',
    action: 'request.refuse',
    subject: { kind: 'request', id: 'many' },
    ...(outcome === undefined ? {} : { outcome }),
  }
}
