import { Type, type Static } from 'typebox'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'
import { BRAIN_KINDS, type BrainKind } from '../brains/brain.ts'
import type { Told } from '../bus/outbox.ts'

/** What agents can be. Triage looks first, Diagnostics checks, Historian compares, Reporter writes; Dispatcher proposes and never acts; Watchdog watches the platform. */
export const AGENT_ROLES = ['triage', 'diagnostics', 'historian', 'reporter', 'dispatcher', 'watchdog'] as const
export type AgentRole = (typeof AGENT_ROLES)[number]

export const AGENT_STATUSES = ['idle', 'active', 'busy', 'retired'] as const
export type AgentStatus = (typeof AGENT_STATUSES)[number]

/** What agents may use. */
export const AGENT_RESOURCES = [
  'alerts',
  'evidence',
  'incidents',
  'ledger',
  'operations',
  'proposals',
  'readings',
  'registry',
  'summaries',
] as const
export type AgentResource = (typeof AGENT_RESOURCES)[number]

/** Ids of agents: words of ours or an administrator's, never a device's. */
export const AGENT_ID_PATTERN = '^[a-z0-9][a-z0-9._-]{0,63}$'

const oneOf = <T extends string>(values: readonly T[], description: string) =>
  Type.Unsafe<T>({ type: 'string', enum: [...values], description })

/** What an agent is and does at the moment, as everybody may see it. */
export const ManifestSchema = Type.Object({
  agentId: Type.String({ pattern: AGENT_ID_PATTERN }),
  tenant: Type.String(),
  role: oneOf(AGENT_ROLES, 'what it does'),
  brain: oneOf<BrainKind>(BRAIN_KINDS, 'who finds its words'),
  status: oneOf(AGENT_STATUSES, 'idle: nothing to do; active: in conversations; busy: it speaks'),
  currentActivities: Type.Array(Type.String(), { description: 'conversations in which it speaks now' }),
  roomParticipation: Type.Array(Type.String(), { description: 'conversations that it takes part in, the latest' }),
  availableResources: Type.Array(Type.String(), { description: 'what it may use' }),
  publicProfile: Type.Object({ name: Type.String(), bio: Type.String() }),
  onlineStatus: Type.Union([Type.Literal('online'), Type.Literal('offline')]),
  introducedAt: Type.Integer({ description: 'epoch ms' }),
  lastUpdated: Type.Integer({ description: 'epoch ms' }),
  lastSeen: Type.Integer({ description: 'epoch ms' }),
})
export type Manifest = Static<typeof ManifestSchema>

export interface AgentDocument extends Told, Manifest {
  v: 1
}
export type StoredAgent = AgentDocument & Stored

export const AGENTS_COLLECTION: CollectionSpec = {
  name: 'agents',
  indexes: [
    { name: 'by-tenant', paths: ['tenant', 'agentId'] },
    { name: 'by-status', paths: ['tenant', 'status'] },
    { name: 'unpublished', paths: ['unpublishedSince'] },
  ],
}

export function agentDocumentId(tenant: string, agent: string): string {
  return `${tenant}/${agent}`
}

export function manifestOf(document: AgentDocument): Manifest {
  const { agentId, tenant, role, brain, status, currentActivities, roomParticipation, availableResources, publicProfile } = document
  const { onlineStatus, introducedAt, lastUpdated, lastSeen } = document
  return {
    ...{ agentId, tenant, role, brain, status, currentActivities, roomParticipation, availableResources, publicProfile },
    ...{ onlineStatus, introducedAt, lastUpdated, lastSeen },
  }
}
