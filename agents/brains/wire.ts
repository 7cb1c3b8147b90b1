import type { TSchema } from 'typebox'
import type { Exchange } from './exchange.ts'
import type { Prompt } from './prompt.ts'

/** How a model stopped: by itself, at its bound of tokens, because it or its provider would not, or otherwise. Null: it was cut off. */
export type Stop = 'end' | 'length' | 'refused' | 'other' | null

export interface ModelAnswer {
  /** Text that should be JSON, or a value that the wire already read. */
  content: string | object | null
  stop: Stop
  /** As the provider counted; null: it did not say. */
  inputTokens: number | null
  outputTokens: number | null
}

export interface WireRequest {
  prompt: Prompt
  schema: TSchema
  exchange: Exchange
  signal: AbortSignal
}

/** How one provider is asked: one request, no retry. Rejects when no answer can be read; why is in the exchange. */
export interface Wire {
  ask(request: WireRequest): Promise<ModelAnswer>
  close(): Promise<void>
}
