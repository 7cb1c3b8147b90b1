import { describeError, EnvironmentError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Stored, WriteResult } from '../../storage/documents/documents.ts'
import type { WriteFence } from '../persistence/latest-writer.ts'
import type { EdgeDocument, Positions } from './edge-documents.ts'

export interface EdgeLeaseOptions {
  edges: () => Collection<EdgeDocument>
  clock: Clock
  log: Logger
  edgeId: string
  leaseMs: number
  /** Commands handled so far. */
  positions: () => Positions
  /** Called after each renewal that is stored, with the positions that it put on record. */
  onRenewed: () => void
  /** Called once when the lease was declared over by another edge: everything held is to be dropped. */
  onLost: () => void
}

/**
 * This edge's lease. It is sure of it for `leaseMs` from the beginning of its last renewal that was stored; others declare it over when
 * they have seen no renewal for `leaseMs`. Both measure with clocks that only count, so wall clocks may differ.
 */
export class EdgeLease implements WriteFence {
  readonly #options: EdgeLeaseOptions
  readonly #holder: string
  #id = ''
  #version = 0
  #validUntilMs = -Infinity
  #recorded: Positions = {}
  #renewing: Promise<boolean> | undefined
  #isLost = false
  #trouble: string | undefined

  constructor(options: EdgeLeaseOptions) {
    this.#options = options
    this.#holder = newId(options.clock.nowMs())
  }

  get id(): string {
    return this.#id
  }
  /** Positions that are on record: a successor begins there. */
  get recorded(): Positions {
    return this.#recorded
  }
  get isValid(): boolean {
    return !this.#isLost && this.#options.clock.monotonicMs() < this.#validUntilMs
  }
  /** Why it could not be renewed, while it is not certain. */
  get trouble(): string | undefined {
    return this.isValid ? undefined : (this.#trouble ?? 'the lease on its sessions is not renewed')
  }

  /** Takes the lease of this data folder's last run, if nobody declared it over; answers its positions. */
  async resume(): Promise<Positions | undefined> {
    const { edgeId } = this.#options
    const found = await this.#options.edges().find({ edgeId, endedBy: { $exists: false } }, { sort: { _id: 1 } })
    for (const document of found) {
      const startedMs = this.#options.clock.monotonicMs()
      const result = await this.#options
        .edges()
        .update(document._id, { $set: { ...this.#own(), positions: document.positions }, $unset: { stopped: '' } }, document.version)
      if (result.status !== 'written') continue
      this.#hold(result.document, startedMs)
      return document.positions
    }
    return undefined
  }

  /** Begins a new lease. */
  async begin(): Promise<void> {
    const { clock, edgeId, edges } = this.#options
    const startedMs = clock.monotonicMs()
    const positions = this.#options.positions()
    const result = await edges().insert(newId(clock.nowMs()), { edgeId, ...this.#own(), startedAt: clock.nowMs(), positions })
    if (result.status === 'written') this.#hold(result.document, startedMs)
    else throw new EnvironmentError('SESSION_TAKEN', 'the lease could not be begun', { retryable: true })
  }

  /** Forgets a lost lease, so that a new one may begin. */
  reset(): void {
    this.#id = ''
    this.#validUntilMs = -Infinity
    this.#isLost = false
  }

  confirm(): Promise<boolean> {
    return this.isValid ? Promise.resolve(true) : this.renew()
  }

  recheck(): Promise<boolean> {
    return this.renew()
  }

  /** Resolves to whether it is certain afterwards. */
  renew(): Promise<boolean> {
    this.#renewing ??= this.#renew().finally(() => {
      this.#renewing = undefined
    })
    return this.#renewing
  }

  /** Says that this edge was stopped in order. */
  async leave(): Promise<void> {
    await this.#renewing
    if (this.#id === '' || this.#isLost) return
    this.#validUntilMs = -Infinity
    const positions = this.#options.positions()
    await this.#options.edges().update(this.#id, { $set: { stopped: true, positions } }, this.#version)
  }

  #own(): Pick<EdgeDocument, 'holder' | 'leaseMs' | 'renewedAt'> {
    return { holder: this.#holder, leaseMs: this.#options.leaseMs, renewedAt: this.#options.clock.nowMs() }
  }

  #hold(document: EdgeDocument & Stored, startedMs: number): void {
    this.#id = document._id
    this.#version = document.version
    this.#recorded = document.positions
    this.#validUntilMs = startedMs + this.#options.leaseMs
    this.#trouble = undefined
  }

  async #renew(): Promise<boolean> {
    if (this.#isLost || this.#id === '') return false
    try {
      const startedMs = this.#options.clock.monotonicMs()
      const positions = this.#options.positions()
      if (!this.#took(await this.#write(positions), startedMs)) await this.#lookAgain()
    } catch (error) {
      this.#trouble = `the lease on its sessions cannot be renewed: ${describeError(error)}`
      this.#options.log.warn({ error: describeError(error) }, 'edge lease not renewed, trying again')
    }
    return this.isValid
  }

  #write(positions: Positions): Promise<WriteResult<EdgeDocument>> {
    const { edges, clock } = this.#options
    return edges().update(this.#id, { $set: { renewedAt: clock.nowMs(), positions } }, this.#version)
  }

  #took(result: WriteResult<EdgeDocument>, startedMs: number): boolean {
    if (result.status !== 'written') return false
    this.#hold(result.document, startedMs)
    this.#options.onRenewed()
    return true
  }

  /** Somebody changed it: we did, and the answer was lost; or it is over. */
  async #lookAgain(): Promise<void> {
    const document = await this.#options.edges().get(this.#id)
    if (document !== null && document.holder === this.#holder && document.endedBy === undefined) {
      const startedMs = this.#options.clock.monotonicMs()
      this.#version = document.version
      this.#took(await this.#write(this.#options.positions()), startedMs)
      return
    }
    if (document !== null && document.holder !== this.#holder)
      this.#options.log.error({ edgeId: this.#options.edgeId }, 'another process runs with this edge id; was the data folder copied?')
    this.#isLost = true
    this.#options.onLost()
  }
}
