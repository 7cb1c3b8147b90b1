import type { Logger } from '../../kernel/log.ts'
import { tellSpan, type SpanSink } from '../../kernel/spans.ts'
import { spanIdOf } from '../../kernel/trace-ids.ts'
import type { StoredConversation } from '../conversation/conversation-document.ts'
import type { TurnResult } from './speaker.ts'

/** The span of a conversation: that of its turns is below it. */
export function conversationSpan(conversation: string): string {
  return spanIdOf('conversation', conversation)
}

/** The span of the turn that has this floor. */
export function turnSpan(conversation: string, epoch: number): string {
  return spanIdOf('turn', conversation, epoch)
}

/** What was thought in that turn: what a model was asked for it is below it. */
export function responseSpan(conversation: string, epoch: number): string {
  return spanIdOf('response', conversation, epoch)
}

/** A turn that ended. */
export interface EndedTurn {
  conversation: Pick<StoredConversation, 'id' | 'correlationId' | 'turns' | 'createdAt' | 'createdBy'>
  agent: string
  epoch: number
  startedAt: number
  endedAt: number
  result: TurnResult
}

/**
 * Says the spans of a turn, by the names `conversation.start` (once, from when it was begun to the first turn), `agent.run` and
 * `agent.generate_response`; `gen_ai.*` as the semantic conventions have it.
 */
export function tellTurn(
  log: Logger,
  sink: SpanSink | undefined,
  { conversation, agent, epoch, startedAt, endedAt, result }: EndedTurn,
): void {
  const { id, correlationId, turns, createdAt, createdBy } = conversation
  const common = { correlationId, startedAt, endedAt }
  const ofTurn = { 'agent.id': agent, 'agent.turn': turns + 1, 'gen_ai.conversation.id': id }
  if (epoch === 1) {
    const attributes = { 'conversation.created_by': createdBy, 'gen_ai.conversation.id': id }
    const start = { name: 'conversation.start', spanId: conversationSpan(id), startedAt: createdAt, endedAt: startedAt, attributes }
    tellSpan(log, { ...common, ...start }, sink)
  }
  const run = { name: 'agent.run', spanId: turnSpan(id, epoch), parentSpanId: conversationSpan(id) }
  const asked = { 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.name': agent, 'floor.epoch': epoch, end: result.status }
  const failed = result.status === 'said' || result.status === 'nothing-to-say' ? {} : { 'error.type': result.status }
  tellSpan(log, { ...common, ...run, attributes: { ...ofTurn, ...asked, ...failed } }, sink)
  const words = result.status === 'said' ? result.words : null
  const response = { name: 'agent.generate_response', spanId: responseSpan(id, epoch), parentSpanId: turnSpan(id, epoch) }
  const by = { 'agent.provider': words?.author.provider ?? 'local', 'response.tokens': result.status === 'said' ? (result.tokens ?? 0) : 0 }
  const model = words?.author.model ?? null
  const named = model === null ? {} : { 'gen_ai.response.model': model }
  tellSpan(log, { ...common, ...response, attributes: { ...ofTurn, ...by, ...named, ...failed } }, sink)
}
