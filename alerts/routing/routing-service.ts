import { authorise, type Action, type Principal } from '../../contracts/authorisation.ts'
import { AccessError, ConflictError, describeError, InternalError, InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, CollectionSpec, Documents } from '../../storage/documents/documents.ts'
import { endpointsOf, receiversOf, RouteSchema, routingFaults, type Routing } from './routing-tree.ts'

export const ROUTING_COLLECTION: CollectionSpec = { name: 'alert-routing', indexes: [] }
interface RoutingDocument {
  tenant: string
  routing: Routing
  updatedAt: number
  updatedBy: string
}
export interface RoutingView {
  /** Null: nobody is told of incidents but endpoints that subscribed to them. */
  routing: Routing | null
  updatedAt: number | null
  updatedBy: string | null
  /** 0 where there is none. */
  version: number
}

/** Faults named in one answer. */
const FAULTS_MAX = 20
const checkShape = compileSchema(RouteSchema)

export interface RoutingServiceOptions {
  documents: Documents
  isEndpoint: (tenant: string, ids: readonly string[]) => Promise<ReadonlySet<string>>
  clock: Clock
  log: Logger
  config: { routingRefreshMs: number }
}

/** Each tenant's routing: whom notices of incidents go to. Held in memory, read anew now and then because other processes change it. */
export class RoutingService implements Service {
  readonly name = 'alert-routing'
  readonly #options: RoutingServiceOptions
  readonly #known = new Map<string, Routing>()
  #collection: Collection<RoutingDocument> | undefined
  #timer: Timer | undefined

  constructor(options: RoutingServiceOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, clock, config, log } = this.#options
    this.#collection = await documents.collection<RoutingDocument>(ROUTING_COLLECTION)
    await this.#refresh()
    this.#timer = every(
      clock,
      config.routingRefreshMs,
      () => this.#refresh(),
      (error) => log.error({ error: describeError(error) }, 'the routing was not read anew; the one known stands'),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Ids of the endpoints that a notice with these labels goes to now. */
  endpointsFor(tenant: string, labels: Readonly<Record<string, string>>, nowMs: number): string[] {
    const routing = this.#known.get(tenant)
    if (routing === undefined) return []
    return endpointsOf(
      routing,
      receiversOf(routing, labels).map(({ receiver }) => receiver),
      nowMs,
    )
  }

  async get(principal: Principal): Promise<RoutingView> {
    allow(principal, 'read')
    const found = await this.#opened().get(principal.tenant)
    if (found === null) return { routing: null, updatedAt: null, updatedBy: null, version: 0 }
    const { routing, updatedAt, updatedBy, version } = found
    return { routing, updatedAt, updatedBy, version }
  }

  /** Takes the place of the one before. InvalidInputError names every fault with its path; nothing changed then. */
  async put(principal: Principal, routing: Routing, expectedVersion?: number): Promise<RoutingView> {
    allow(principal, 'write')
    const { tenant } = principal
    await this.#check(tenant, routing)
    const document = { tenant, routing, updatedAt: this.#options.clock.nowMs(), updatedBy: `${principal.kind}:${principal.id}` }
    const before = await this.#opened().get(tenant)
    if (expectedVersion !== undefined && expectedVersion !== (before?.version ?? 0)) throw versionConflict()
    const result =
      before === null ? await this.#opened().insert(tenant, document) : await this.#opened().replace(tenant, before.version, document)
    if (result.status !== 'written') throw versionConflict()
    this.#known.set(tenant, routing)
    return { routing, updatedAt: document.updatedAt, updatedBy: document.updatedBy, version: result.document.version }
  }

  /** Where a tenant's routing names an endpoint: dotted paths. */
  async placesOf(tenant: string, endpointId: string): Promise<string[]> {
    const receivers = (await this.#opened().get(tenant))?.routing.receivers ?? []
    return receivers.flatMap(({ endpoints = [] }, i) =>
      endpoints.flatMap((id, j) => (id === endpointId ? [`receivers.${i}.endpoints.${j}`] : [])),
    )
  }

  /**
   * Which receivers and endpoints a notice with these labels would reach at this time, and by which route; by `routing`, where one is given that
   * is not kept yet: InvalidInputError as `put` says.
   */
  async preview(
    principal: Principal,
    labels: Record<string, string>,
    { atMs, routing: proposed }: { atMs?: number | undefined; routing?: Routing | undefined } = {},
  ): Promise<{ receivers: { receiver: string; path: string }[]; endpoints: string[] }> {
    const stored = await this.get(principal)
    if (proposed !== undefined) await this.#check(principal.tenant, proposed)
    const routing = proposed ?? stored.routing
    if (routing === null) return { receivers: [], endpoints: [] }
    const receivers = receiversOf(routing, labels)
    const names = receivers.map(({ receiver }) => receiver)
    return { receivers, endpoints: endpointsOf(routing, names, atMs ?? this.#options.clock.nowMs()) }
  }

  async #check(tenant: string, routing: Routing): Promise<void> {
    const ids = routing.receivers.flatMap(({ endpoints = [] }) => endpoints)
    const known = await this.#options.isEndpoint(tenant, ids)
    const faults = routingFaults(routing, (id) => known.has(id), shapeFaults)
    if (faults.length === 0) return
    const named = faults.slice(0, FAULTS_MAX)
    const [first] = named
    throw new InvalidInputError(named.map(({ path, problem }) => `${path}: ${problem}`).join('; '), {
      details: { field: first?.path, faults: named },
    })
  }

  async #refresh(): Promise<void> {
    const found = await this.#opened().find({}, { limit: 10_000 })
    this.#known.clear()
    for (const { tenant, routing } of found) this.#known.set(tenant, routing)
  }

  #opened(): Collection<RoutingDocument> {
    if (this.#collection === undefined) throw new InternalError('the routing is not open')
    return this.#collection
  }
}

function shapeFaults(value: unknown): { path: string; problem: string }[] {
  const result = checkShape(value)
  return result.status === 'valid' ? [] : result.faults.map(({ path, problem, allowed }) => ({ path, problem: `${problem} (${allowed})` }))
}

function allow(principal: Principal, action: Action): void {
  if (authorise(principal, action, { tenant: principal.tenant, kind: 'alerts' })) return
  throw new AccessError('FORBIDDEN', `${principal.kind} ${principal.id} may not ${action} the routing of alerts`)
}

function versionConflict(): ConflictError {
  return new ConflictError('the routing was changed by others', {
    code: 'VERSION_MISMATCH',
    remedy: 'Read it again and repeat the change.',
  })
}
