import { InternalError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { Sweeper } from '../../kernel/sweeper.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { MemoryConfig } from './config.ts'
import { MEMORIES_COLLECTION, memoryId, type Memory, type MemoryDocument } from './memory-document.ts'

/** Entries that are forgotten at a time where there are too many. */
const FORGET_MAX = 1_000

/** What is learnt; `of` names it, so that learning it again changes nothing. */
export type Learnt = Omit<Memory, 'id' | 'expiresAt'> & { tenant: string; of: string }

export interface RecallAsk {
  tenant: string
  agent: string
  devices: readonly string[]
  type: string | null
  causes: readonly string[]
  /** Not what was learnt in it. */
  except: string
}

/** What an agent remembers that bears on an incident, newest first. */
export interface Recall {
  statements: Memory[]
  resolutions: Memory[]
}

export interface MemoriesOptions {
  documents: Documents
  clock: Clock
  log: Logger
  config: MemoryConfig
  /** False where it is only looked at. */
  works?: boolean
}

/** What agents keep between conversations: bounded in number and time, to be looked at and forgotten by whoever may. */
export class Memories implements Service {
  readonly name = 'memories'
  readonly #options: MemoriesOptions
  readonly #sweeper: Sweeper
  #memories: Collection<MemoryDocument> | undefined

  constructor(options: MemoriesOptions) {
    this.#options = options
    const { clock, log, config } = options
    this.#sweeper = new Sweeper({ what: 'memories', intervalMs: config.sweepIntervalMs, clock, log, sweep: () => this.sweep() })
  }

  async start(): Promise<void> {
    this.#memories ??= await this.#options.documents.collection<MemoryDocument>(MEMORIES_COLLECTION)
    if (this.#options.works !== false) this.#sweeper.start()
  }
  async stop(): Promise<void> {
    await this.#sweeper.stop()
    this.#memories = undefined
  }

  async learn({ of, tenant, ...learnt }: Learnt): Promise<void> {
    const { config } = this.#options
    const memories = this.#opened()
    const id = memoryId(tenant, learnt.agent, of)
    const result = await memories.insert(id, { ...learnt, id, tenant, expiresAt: learnt.at + config.ttlMs })
    if (result.status !== 'written') return
    await this.#trim({ tenant, agent: learnt.agent }, config.entriesMax)
    for (const device of learnt.devices) await this.#trim({ tenant, devices: device }, config.perDeviceMax)
  }

  async recall({ tenant, agent, devices, type, causes, except }: RecallAsk): Promise<Recall> {
    const { config, clock } = this.#options
    const fresh = { tenant, agent, incident: { $ne: except }, expiresAt: { $gt: clock.nowMs() } }
    const newest = { at: -1 } as const
    const [statements, resolutions] = await Promise.all([
      this.#opened().find({ ...fresh, kind: 'statement', devices: { $in: [...devices] } }, { sort: newest, limit: config.recalledMax }),
      type === null
        ? []
        : this.#opened().find(
            { ...fresh, kind: 'resolution', cause: { $in: [...causes] }, type },
            { sort: newest, limit: 10 * config.recalledMax },
          ),
    ])
    return { statements: statements.map(shown), resolutions: resolutions.map(shown) }
  }

  /** Newest first; `before`: of the last page. */
  async list(tenant: string, agent: string, limit: number, before?: number): Promise<Memory[]> {
    const filter = { tenant, agent, ...(before === undefined ? {} : { at: { $lt: before } }) }
    return (await this.#opened().find(filter, { sort: { at: -1 }, limit })).map(shown)
  }

  /** Throws NotFoundError. */
  async forget(tenant: string, agent: string, id: string): Promise<Memory> {
    const stored = await this.#opened().get(id)
    if (stored === null || stored.tenant !== tenant || stored.agent !== agent) throw new NotFoundError(`agent ${agent} has no memory ${id}`)
    await this.#opened().delete(id)
    return shown(stored)
  }

  /** Everything that any agent keeps about a device; resolves with how much that was. */
  async forgetDevice(tenant: string, device: string): Promise<number> {
    return this.#opened().deleteMany({ tenant, devices: device })
  }

  async sweep(): Promise<void> {
    await this.#opened().deleteMany({ expiresAt: { $lte: this.#options.clock.nowMs() } })
  }

  async #trim(filter: Record<string, string>, most: number): Promise<void> {
    const memories = this.#opened()
    const beyond = (await memories.count(filter)) - most
    if (beyond <= 0) return
    const oldest = await memories.find(filter, { sort: { at: 1 }, limit: Math.min(beyond, FORGET_MAX) })
    for (const { _id } of oldest) await memories.delete(_id)
  }

  #opened(): Collection<MemoryDocument> {
    if (this.#memories === undefined) throw new InternalError('memories are used before their start or after their stop')
    return this.#memories
  }
}

function shown({
  id,
  agent,
  kind,
  incident,
  devices,
  type,
  cause,
  content,
  by,
  resolution,
  tookMs,
  at,
  expiresAt,
}: MemoryDocument): Memory {
  return { id, agent, kind, incident, devices, type, cause, content, by, resolution, tookMs, at, expiresAt }
}
