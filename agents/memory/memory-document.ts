import { createHash } from 'node:crypto'
import { Type, type Static } from 'typebox'
import type { CollectionSpec } from '../../storage/documents/documents.ts'

/** Who keeps it: looking back is the historian's. */
export const KEEPER = 'historian'
export const MEMORY_KINDS = ['resolution', 'statement'] as const

const textOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description })

/** Something that an agent keeps between conversations. */
export const MemorySchema = Type.Object({
  id: Type.String(),
  agent: Type.String(),
  kind: Type.Unsafe<(typeof MEMORY_KINDS)[number]>({
    type: 'string',
    enum: [...MEMORY_KINDS],
    description: 'resolution: how an incident ended; statement: what a person said of it',
  }),
  incident: Type.String({ description: 'in which it was learnt' }),
  devices: Type.Array(Type.String(), { description: 'whom it is about' }),
  type: textOrNull('device type'),
  cause: textOrNull('cause code of the digest; null: there was none'),
  content: textOrNull('of statements: the words'),
  by: textOrNull('of statements: whose'),
  resolution: Type.Union([Type.Literal('operator'), Type.Literal('by-itself'), Type.Null()], {
    description: 'of resolutions: who ended it',
  }),
  tookMs: Type.Union([Type.Integer(), Type.Null()], { description: 'of resolutions: from the first alert to the end' }),
  at: Type.Integer({ description: 'epoch ms' }),
  expiresAt: Type.Integer({ description: 'epoch ms: it is forgotten then' }),
})
export type Memory = Static<typeof MemorySchema>

export interface MemoryDocument extends Memory {
  tenant: string
}

export const MEMORIES_COLLECTION: CollectionSpec = {
  name: 'agent-memories',
  indexes: [
    { name: 'newest', paths: ['tenant', 'agent', 'at'] },
    { name: 'by-device', paths: ['tenant', 'devices', 'at'] },
    { name: 'by-cause', paths: ['tenant', 'kind', 'cause', 'type', 'at'] },
    { name: 'expired', paths: ['expiresAt'] },
  ],
}

/** The same thing learnt twice has the same id. */
export function memoryId(tenant: string, agent: string, of: string): string {
  return createHash('sha256')
    .update(JSON.stringify([tenant, agent, of]))
    .digest('hex')
    .slice(0, 32)
}
