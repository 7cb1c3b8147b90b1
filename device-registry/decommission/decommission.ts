import type { Actor } from '../../contracts/registrar.ts'
import { deviceKey } from '../../contracts/topics.ts'
import { ConflictError, InternalError, LimitError, NotFoundError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { DeviceView, Registry } from '../registry.ts'
import { decommissionConfig, type DecommissionConfig } from './config.ts'
import { openJobs, viewOf, type HistoryRule, type Job, type JobView, type StoredJob } from './job.ts'

export interface DecommissionOptions {
  documents: Documents
  registry: Registry
  clock: Clock
  decommissionConfig?: DecommissionConfig
}

/** What is asked for; what is left out is as configured. */
export interface LeaveRequest {
  readings?: Exclude<HistoryRule, 'move'>
  wipe?: boolean
  wipeTimeoutMs?: number
  why?: string
  origin?: string
}

export interface TransferRequest extends Omit<LeaveRequest, 'readings'> {
  to: { tenant: string; device: string }
  readings: HistoryRule
}

type Asked = Pick<Job, 'kind' | 'to' | 'readings' | 'wipe' | 'wipeTimeoutMs' | 'why' | 'origin' | 'by'>

/**
 * Where devices are asked to leave, and how far they are is read; the work is done by DecommissionWork, in whichever process that is.
 * A transfer is the same way out, with a new beginning in another tenant.
 */
export class Decommission implements Service {
  readonly name = 'decommission'
  readonly #options: DecommissionOptions
  readonly #config: DecommissionConfig
  #jobs: Collection<Job> | undefined

  constructor(options: DecommissionOptions) {
    this.#options = options
    this.#config = options.decommissionConfig ?? decommissionConfig()
  }

  async start(): Promise<void> {
    this.#jobs ??= await openJobs(this.#options.documents)
  }

  stop(): Promise<void> {
    this.#jobs = undefined
    return Promise.resolve()
  }

  /**
   * Begins; resolves when the device is locked and the rest will be done whatever happens. Throws NotFoundError; ConflictError when it
   * is on its way out or was decommissioned (ILLEGAL_TRANSITION); LimitError.
   */
  async decommission(tenant: string, device: string, request: LeaveRequest, by: Actor): Promise<JobView> {
    const { readings = this.#config.readings, wipe = this.#config.wipe } = request
    return this.#begin(tenant, device, { ...this.#common(request, by), kind: 'decommission', to: null, readings, wipe })
  }

  /** As `decommission`, and the device is registered in the other tenant. Also ConflictError when its id is known there. */
  async transfer(tenant: string, device: string, request: TransferRequest, by: Actor): Promise<JobView> {
    const { to, readings, wipe = false } = request
    if (to.tenant === tenant) {
      throw new ConflictError(`device ${device} is in tenant ${tenant} already`, { remedy: 'Name another tenant.' })
    }
    const there = await this.#options.registry.findDevice(to.tenant, to.device)
    if (there !== undefined) {
      throw new ConflictError(`tenant ${to.tenant} has a device ${to.device} (${there.state}); an id is never used twice`, {
        remedy: 'Name another id for it there.',
      })
    }
    return this.#begin(tenant, device, { ...this.#common(request, by), kind: 'transfer', to, readings, wipe })
  }

  /** How far it is. Throws NotFoundError when it was never asked for. */
  async get(tenant: string, device: string): Promise<JobView> {
    return viewOf(await this.#job(tenant, device))
  }

  /** The signed receipt, JWS in compact form. Throws NotFoundError; ConflictError while it is not done. */
  async receipt(tenant: string, device: string): Promise<string> {
    const { receipt, step } = await this.#job(tenant, device)
    if (receipt !== null) return receipt
    throw new ConflictError(`device ${device} is still on its way out: ${step} is being done`, {
      remedy: 'Ask again when its state is "done".',
    })
  }

  #common({ wipeTimeoutMs, why, origin }: Omit<LeaveRequest, 'readings'>, by: Actor): Pick<Job, 'wipeTimeoutMs' | 'why' | 'origin' | 'by'> {
    return { wipeTimeoutMs: wipeTimeoutMs ?? this.#config.wipeTimeoutMs, why: why ?? null, origin: origin ?? null, by }
  }

  async #begin(tenant: string, device: string, asked: Asked): Promise<JobView> {
    const jobs = this.#opened()
    const found = await this.#options.registry.getDevice(tenant, device)
    if ((await jobs.count({ state: 'running' })) >= this.#config.runningMax) {
      throw new LimitError(`there are ${this.#config.runningMax} devices on their way out (decommission.runningMax)`, {
        remedy: 'Ask again when some are done, or raise it.',
      })
    }
    const key = deviceKey(tenant, device)
    const inserted = await jobs.insert(key, newJob(found, asked, this.#options.clock.nowMs()))
    if (inserted.status === 'conflict') throw alreadyLeaving(await jobs.get(key), found)
    await this.#lock(inserted.document)
    return viewOf(await this.#job(tenant, device))
  }

  /** Here too, so that whoever asks hears at once that it cannot be; a crash before it leaves it to the work. */
  async #lock({ _id, version, tenant, device, by, why, origin }: StoredJob): Promise<void> {
    const note = { ...(why === null ? {} : { why }), ...(origin === null ? {} : { origin }) }
    try {
      await this.#options.registry.transition(tenant, device, 'decommissioning', by, note)
    } catch (error) {
      if (error instanceof ConflictError) await this.#opened().delete(_id, version)
      throw error
    }
  }

  async #job(tenant: string, device: string): Promise<StoredJob> {
    const job = await this.#opened().get(deviceKey(tenant, device))
    if (job === null) throw new NotFoundError(`device ${device} was not asked to leave`)
    return job
  }

  #opened(): Collection<Job> {
    if (this.#jobs === undefined) throw new InternalError('decommissioning is used before its start or after its stop')
    return this.#jobs
  }
}

function newJob({ tenant, id: device, type }: DeviceView, asked: Asked, nowMs: number): Job {
  const begun = { state: 'running', step: 'lock', stepStartedAt: nowMs, progress: {}, trouble: null, answer: null, receipt: null } as const
  return { id: newId(nowMs), tenant, device, type, ...asked, requestedAt: nowMs, ...begun, steps: [] }
}

function alreadyLeaving(job: Job | null, { id, state }: DeviceView): ConflictError {
  const past = job?.kind === 'transfer' ? 'transferred' : 'decommissioned'
  const how = job?.state === 'done' ? `was ${past}` : `is on its way out (${job?.step ?? state})`
  return new ConflictError(`device ${id} ${how}; it is ${state} and cannot become decommissioning again`, {
    code: 'ILLEGAL_TRANSITION',
    remedy: 'Its progress and receipt can be read.',
  })
}
