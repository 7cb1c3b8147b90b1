import { Type, type Static } from 'typebox'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'
import type { Told } from '../bus/outbox.ts'
import { RUN_STATES, type RunState } from '../turns/run-state.ts'
import type { SiteCredit } from './attention.ts'

const timestamp = (description: string) => Type.Integer({ description: `${description}, epoch ms` })
const runState = Type.Unsafe<RunState>({ type: 'string', enum: [...RUN_STATES], description: 'where its turn is' })

/** What an agent attends to, as everybody may see it. */
export const AttentionSchema = Type.Object({
  agentId: Type.String(),
  runState,
  currentFocus: Type.Union([Type.String(), Type.Null()], { description: 'the conversation it took up last; null: none at the moment' }),
  /** It may speak in several conversations at a time. */
  activities: Type.Array(Type.Object({ dialogueId: Type.String(), runState, since: timestamp('since when') })),
  waiting: Type.Integer({ description: 'dialogues that wait for it' }),
  attentionQueue: Type.Array(
    Type.Object({
      dialogueId: Type.String(),
      priority: Type.Number({ description: 'points as they were counted last' }),
      since: timestamp('waits since'),
      lastInteraction: timestamp('when something happened in it last'),
    }),
    { description: 'the first of those that wait, most urgent first' },
  ),
  lastUpdated: timestamp('when this was written'),
})
export type Attention = Static<typeof AttentionSchema>

export interface QueuedDialogue {
  conversation: string
  priority: number
  since: number
  lastInteraction: number
}
export interface AttentionActivity {
  conversation: string
  runState: RunState
  since: number
}

/** What one process knows of an agent's attention; each writes its own part. */
export interface AttentionPart {
  process: string
  at: number
  waiting: number
  queue: QueuedDialogue[]
  activities: AttentionActivity[]
  credits: SiteCredit[]
}

/** One agent's attention, of all processes. */
export interface AttentionDocument extends Told {
  v: 1
  agent: string
  parts: AttentionPart[]
  currentFocus: string | null
  lastUpdated: number
}
export type StoredAttention = AttentionDocument & Stored

export const ATTENTION_COLLECTION: CollectionSpec = {
  name: 'agent-attention-states',
  indexes: [
    { name: 'by-process', paths: ['parts.process'] },
    { name: 'unpublished', paths: ['unpublishedSince'] },
  ],
}

/** Another than the manifest's: both tell events of the agent, each with numbers of its own. */
export function attentionDocumentId(tenant: string, agent: string): string {
  return `${tenant}/${agent}/attention`
}
