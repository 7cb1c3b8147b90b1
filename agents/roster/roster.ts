import { isDeepStrictEqual } from 'node:util'
import { ConflictError, describeError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import { plainText } from '../access/plain-text.ts'
import type { BrainKind } from '../brains/brain.ts'
import { tell } from '../bus/outbox.ts'
import { ToldStore, type ToldStoreOptions } from '../bus/told-store.ts'
import {
  AGENT_ID_PATTERN,
  agentDocumentId,
  AGENTS_COLLECTION,
  manifestOf,
  type AgentDocument,
  type AgentRole,
  type AgentStatus,
  type Manifest,
} from './agent-document.ts'
import { TEAM } from './team.ts'

/** Conversations named in a manifest. */
const ROOMS_MAX = 50
/** A status that changed again within so many ms is told once: turns of a few ms each would tell nobody anything. */
const STATUS_MS = 250
const NAME_LENGTH_MAX = 64
const BIO_LENGTH_MAX = 500
const ID = new RegExp(AGENT_ID_PATTERN)

export interface Introduction {
  agentId: string
  role: AgentRole
  brain?: BrainKind
  name: string
  bio: string
  /** Absent: what its role needs. */
  availableResources?: string[] | undefined
}

export type ManifestChanges = { [K in 'brain' | 'name' | 'bio' | 'availableResources']?: Introduction[K] | undefined }

export type RosterOptions = Omit<ToldStoreOptions<AgentDocument>, 'collection' | 'noun' | 'settle'>

interface Activity {
  tenant: string
  agent: string
  rooms: Map<string, number>
  recent: string[]
  isDirty: boolean
  toldAtMs: number
}

/** Who there is: manifests in the documents, their changes on the bus. */
export class Roster implements Service {
  readonly name = 'roster'
  readonly #store: ToldStore<AgentDocument>
  readonly #clock: Clock
  readonly #log: Logger
  readonly #activities = new Map<string, Activity>()
  readonly #teams = new Set<string>()
  #timer: Timer | undefined

  constructor(options: RosterOptions) {
    this.#store = new ToldStore<AgentDocument>({ ...options, collection: AGENTS_COLLECTION, noun: 'agent' })
    this.#clock = options.clock
    this.#log = options.log
  }

  async start(): Promise<void> {
    await this.#store.start()
    this.#timer ??= every(
      this.#clock,
      STATUS_MS,
      () => this.flush(),
      (error) => this.#log.warn({ error: describeError(error) }, 'the status of agents is not written yet'),
    )
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#store.stop()
  }

  /** Tells what may not have been told. */
  republish(): Promise<void> {
    return this.#store.republish()
  }

  /** Introduces the team where it was not yet; once per tenant and process. */
  async ensureTeam(tenant: string): Promise<void> {
    if (this.#teams.has(tenant)) return
    for (const { agentId, ...rest } of TEAM) await this.#introduce(tenant, { agentId, role: agentId, ...rest })
    this.#teams.add(tenant)
  }

  /** Throws InvalidInputError, or ConflictError for an id that is taken; one that was retired may come back. */
  async introduce(tenant: string, introduction: Introduction): Promise<Manifest> {
    if (!ID.test(introduction.agentId))
      throw new InvalidInputError(`agentId must match ${AGENT_ID_PATTERN}`, { details: { field: 'agentId' } })
    const introduced = await this.#introduce(tenant, introduction)
    if (introduced !== null) return introduced
    const id = agentDocumentId(tenant, introduction.agentId)
    const stored = await this.#store.change({ id, tenant }, (known) => {
      if (known.status !== 'retired') throw new ConflictError(`agent ${introduction.agentId} is there already`)
      const nowMs = this.#clock.nowMs()
      const again: AgentDocument = {
        ...known,
        ...profileOf(introduction),
        status: 'idle',
        onlineStatus: 'online',
        introducedAt: nowMs,
        lastUpdated: nowMs,
      }
      return tell(again, 'AgentIntroduced', told(again), nowMs)
    })
    return manifestOf(stored)
  }

  /** Changes what it is. Throws NotFoundError, or ConflictError for one that is retired. */
  async update(tenant: string, agent: string, changes: ManifestChanges): Promise<{ before: Manifest; after: Manifest }> {
    let before: Manifest | undefined
    const stored = await this.#store.change({ id: agentDocumentId(tenant, agent), tenant }, (known) => {
      if (known.status === 'retired') throw new ConflictError(`agent ${agent} is retired`, { remedy: 'Introduce it again.' })
      before = manifestOf(known)
      const { brain, publicProfile, availableResources, role } = known
      const profile = profileOf({ agentId: agent, role, brain, ...publicProfile, availableResources, ...defined(changes) })
      if (isDeepStrictEqual(profile, { role, brain, publicProfile, availableResources })) return known
      const nowMs = this.#clock.nowMs()
      const changed: AgentDocument = { ...known, ...profile, lastUpdated: nowMs }
      return tell(changed, 'ManifestUpdated', told(changed), nowMs)
    })
    const after = manifestOf(stored)
    return { before: before ?? after, after }
  }

  /** Retires it; who retires the same again changes nothing. Throws NotFoundError. */
  async retire(tenant: string, agent: string): Promise<Manifest> {
    const stored = await this.#store.change({ id: agentDocumentId(tenant, agent), tenant }, (known) => {
      if (known.status === 'retired') return known
      const nowMs = this.#clock.nowMs()
      const gone: AgentDocument = {
        ...known,
        status: 'retired',
        onlineStatus: 'offline',
        currentActivities: [],
        roomParticipation: [],
        lastUpdated: nowMs,
      }
      return tell(gone, 'AgentRetired', { agentId: agent }, nowMs)
    })
    return manifestOf(stored)
  }

  /** Another agent of its role that is not retired, the first by id; null: there is none. */
  async standInFor(tenant: string, agent: string): Promise<string | null> {
    const { role } = await this.get(tenant, agent)
    const filter = { tenant, role, status: { $ne: 'retired' }, agentId: { $ne: agent } }
    const [other] = await this.#store.collection.find(filter, { sort: { agentId: 1 }, limit: 1 })
    return other?.agentId ?? null
  }

  async get(tenant: string, agent: string): Promise<Manifest> {
    const found = await this.#store.collection.get(agentDocumentId(tenant, agent))
    if (found === null || found.tenant !== tenant) throw new NotFoundError(`there is no agent ${agent}`)
    return manifestOf(found)
  }

  /** By id. */
  async list(tenant: string, limit: number, after = ''): Promise<Manifest[]> {
    await this.ensureTeam(tenant)
    const found = await this.#store.collection.find({ tenant, agentId: { $gt: after } }, { sort: { agentId: 1 }, limit })
    return found.map(manifestOf)
  }

  /** This agent begins to speak in a conversation; call what it answers when it is done. */
  begins(tenant: string, agent: string, conversation: string): () => void {
    const id = agentDocumentId(tenant, agent)
    const activity = this.#activities.get(id) ?? {
      tenant,
      agent,
      rooms: new Map<string, number>(),
      recent: [],
      isDirty: false,
      toldAtMs: -Infinity,
    }
    this.#activities.set(id, activity)
    activity.rooms.set(conversation, (activity.rooms.get(conversation) ?? 0) + 1)
    activity.recent = [conversation, ...activity.recent.filter((each) => each !== conversation)].slice(0, ROOMS_MAX)
    activity.isDirty = true
    // The first change is told at once; those that follow within a moment together.
    if (this.#clock.monotonicMs() - activity.toldAtMs >= STATUS_MS) {
      activity.toldAtMs = this.#clock.monotonicMs()
      this.#write(activity).catch((error: unknown) =>
        this.#log.warn({ agent, error: describeError(error) }, 'the status of an agent is not written yet'),
      )
    }
    return () => {
      const left = (activity.rooms.get(conversation) ?? 1) - 1
      if (left <= 0) activity.rooms.delete(conversation)
      else activity.rooms.set(conversation, left)
      activity.isDirty = true
    }
  }

  /** Writes what changed since it was written last. */
  async flush(): Promise<void> {
    for (const activity of this.#activities.values()) if (activity.isDirty) await this.#write(activity)
  }

  async #write(activity: Activity): Promise<void> {
    const { tenant, agent } = activity
    activity.isDirty = false
    const nowMs = this.#clock.nowMs()
    const status: AgentStatus = activity.rooms.size > 0 ? 'busy' : 'idle'
    try {
      await this.#store.change({ id: agentDocumentId(tenant, agent), tenant }, (known) => {
        if (known.status === 'retired') return known
        const next: AgentDocument = {
          ...known,
          status,
          currentActivities: [...activity.rooms.keys()].slice(0, ROOMS_MAX),
          roomParticipation: activity.recent,
          lastSeen: nowMs,
          lastUpdated: nowMs,
        }
        return known.status === status ? next : tell(next, 'AgentStatusUpdated', { agentId: agent, newStatus: status }, nowMs)
      })
    } catch (error) {
      activity.isDirty = true
      throw error
    }
  }

  async #introduce(tenant: string, introduction: Introduction): Promise<Manifest | null> {
    const nowMs = this.#clock.nowMs()
    const id = agentDocumentId(tenant, introduction.agentId)
    const agent: AgentDocument = {
      ...{ v: 1, id, tenant, agentId: introduction.agentId, correlationId: id, sequence: 0, outbox: [], unpublishedSince: null },
      ...profileOf(introduction),
      ...{ status: 'idle', currentActivities: [], roomParticipation: [], onlineStatus: 'online' },
      ...{ introducedAt: nowMs, lastUpdated: nowMs, lastSeen: nowMs },
    }
    const stored = await this.#store.insert(id, tell(agent, 'AgentIntroduced', told(agent), nowMs))
    return stored === null ? null : manifestOf(stored)
  }
}

function profileOf({
  role,
  brain = 'local',
  name,
  bio,
  availableResources = resourcesOf(role),
}: Introduction): Pick<Manifest, 'role' | 'brain' | 'publicProfile' | 'availableResources'> {
  return { role, brain, publicProfile: { name: plainText(name, NAME_LENGTH_MAX), bio: plainText(bio, BIO_LENGTH_MAX) }, availableResources }
}

function told({ agentId, role, brain, status, publicProfile, availableResources }: AgentDocument): Record<string, unknown> {
  return { agentId, manifest: { role, brain, status, ...publicProfile, availableResources } }
}

/** Without what is not said. */
function defined(changes: ManifestChanges): Partial<Introduction> {
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined))
}

function resourcesOf(role: AgentRole): string[] {
  return TEAM.find(({ agentId }) => agentId === role)?.availableResources ?? []
}
