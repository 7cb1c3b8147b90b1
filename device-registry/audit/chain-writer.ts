import { InternalError, LimitError } from '../../kernel/errors.ts'
import type { Random } from '../../kernel/random.ts'
import { backoffDelayMs } from '../../kernel/retry.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Collection } from '../../storage/documents/documents.ts'
import { EMPTY_CHAIN, link, type ChainHead, type LooseEntry } from './chain.ts'
import { blockId, blockOf, type AuditBlock } from './documents.ts'
import type { AuditConfig } from './config.ts'

/**
 * A known end of the chain is believed for so long, then read again: another process may have gone on, and retention may have removed a
 * block whose place would then look free. Far below the least age at which anything is cut.
 */
const HEAD_FRESH_MS = 1_000
/** Others that append at the same time: whoever lost waits a moment, so that many writers do not only collide. */
const RACE_BACKOFF = { initialMs: 1, maxMs: 100, factor: 2, jitter: 1 }
/** Lost races in a row after which something else must be wrong. */
const RACES_MAX = 500

interface Waiting {
  entry: LooseEntry
  resolve: () => void
  reject: (error: unknown) => void
}

export interface ChainWriterOptions {
  tenant: string
  blocks: Collection<AuditBlock>
  clock: Clock
  random: Random
  config: AuditConfig
}

/** Appends to one tenant's chain: what comes while a block becomes durable goes into the next one together. */
export class ChainWriter {
  readonly #options: ChainWriterOptions
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined
  #head: (ChainHead & { readAtMs: number }) | undefined

  constructor(options: ChainWriterOptions) {
    this.#options = options
  }

  get waiting(): number {
    return this.#waiting.length
  }

  /** Resolves when durable. */
  append(entry: LooseEntry): Promise<void> {
    const { config } = this.#options
    if (this.#waiting.length >= config.waitingEntriesMax) {
      const message = `${config.waitingEntriesMax} audit entries wait to become durable (audit.waitingEntriesMax)`
      return Promise.reject(new LimitError(message, { remedy: 'Wait a moment and ask again.' }))
    }
    const durable = new Promise<void>((resolve, reject) => this.#waiting.push({ entry, resolve, reject }))
    this.#writing ??= this.#writeAll()
    return durable
  }

  /** Resolves when nothing waits. */
  async drain(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing
  }

  async #writeAll(): Promise<void> {
    // What is recorded in this turn of the event loop goes into one block.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.config.blockEntriesMax)
      try {
        await this.#write(batch.map(({ entry }) => entry))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        this.#head = undefined
        for (const { reject } of batch) reject(error)
      }
    }
    // In the same step as the last look: what comes later begins anew.
    this.#writing = undefined
  }

  async #write(entries: readonly LooseEntry[]): Promise<void> {
    const { tenant, blocks, clock, random } = this.#options
    for (let races = 0; races <= RACES_MAX; races++) {
      const head = await this.#freshHead()
      const block = blockOf(link(head, entries))
      const result = await blocks.insert(blockId(tenant, block.firstSeq), block)
      if (result.status === 'written') {
        this.#head = { seq: block.lastSeq, hash: block.lastHash, readAtMs: clock.nowMs() }
        return
      }
      this.#head = undefined
      if (races > 0) await sleep(clock, backoffDelayMs(RACE_BACKOFF, races, random))
    }
    throw new InternalError(`the audit trail of tenant ${tenant} cannot be appended to: its end is never where it was found`)
  }

  async #freshHead(): Promise<ChainHead> {
    const { tenant, blocks, clock } = this.#options
    if (this.#head === undefined || Math.abs(clock.nowMs() - this.#head.readAtMs) > HEAD_FRESH_MS) {
      this.#head = { ...(await readHead(blocks, tenant)), readAtMs: clock.nowMs() }
    }
    return this.#head
  }
}

/** Where the stored chain ends. The newest block is never cut. */
export async function readHead(blocks: Collection<AuditBlock>, tenant: string): Promise<ChainHead> {
  const [newest] = await blocks.find({ tenant }, { sort: { firstSeq: -1 }, limit: 1 })
  return newest === undefined ? EMPTY_CHAIN : { seq: newest.lastSeq, hash: newest.lastHash }
}
