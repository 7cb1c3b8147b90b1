import { ConflictError, TimeoutError } from '../../../kernel/errors.ts'
import type { Collection, Documents } from '../../../storage/documents/documents.ts'
import type { ActionPort, Actions } from '../actions.ts'

/** A thing that acts change, in the documents, so that every process sees the same: who changed it, each time it changed. */
export interface Thing {
  state: string
  changes: string[]
}

/** Acts on things by compare-and-set, as the stations do; each execution that changes one is counted in it. */
export class CountingActions {
  readonly #documents: Documents
  #things: Collection<Thing> | undefined
  /** Fails the next executions: before the change, or after it, as when the answer is lost. */
  fails: ('before' | 'after')[] = []
  /** Called after the change, before it is answered. */
  onChanged: () => void | Promise<void> = () => undefined

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async things(): Promise<Collection<Thing>> {
    this.#things ??= await this.#documents.collection<Thing>({ name: 'test-things', indexes: [] })
    return this.#things
  }

  get actions(): Actions {
    const port: ActionPort = {
      targets: async ({ devices }, max) => devices.slice(0, max),
      dryRun: async (_tenant, { target }) => {
        const thing = await (await this.things()).get(target)
        if (thing === null) return { status: 'impossible', why: 'it is gone' }
        if (thing.state === 'held') return { status: 'applied' }
        return {
          status: 'possible',
          basis: thing.version,
          diff: [{ subject: `thing/${target}`, field: 'state', before: thing.state, after: 'held' }],
        }
      },
      execute: async (_tenant, { target }, { basis, by }) => {
        const fails = this.fails.shift()
        if (fails === 'before') throw new TimeoutError('the store does not answer')
        const change = { $set: { state: 'held' }, $push: { changes: by } }
        const result = await (await this.things()).update(target, change, basis)
        if (result.status !== 'written') throw new ConflictError(`thing ${target} moved`)
        await this.onChanged()
        if (fails === 'after') throw new TimeoutError('the answer is lost')
      },
    }
    return { 'device.quarantine': port, 'certificate.revoke': port, 'alert.silence': port, 'incident.acknowledge': port }
  }
}
