import { BaseChatModel, type BaseChatModelCallOptions, type BaseChatModelParams } from '@langchain/core/language_models/chat_models'
import { AIMessageChunk, type BaseMessage } from '@langchain/core/messages'
import { ChatGenerationChunk, type ChatResult } from '@langchain/core/outputs'
import { EnvironmentError } from '../../kernel/errors.ts'
import { serverSentData } from './server-sent-data.ts'

/** https://ai.google.dev/api/generate-content, v1beta: the parts of it that are read here. */
interface GeminiResponse {
  candidates?: { content?: { parts?: { text?: unknown; thought?: boolean; functionCall?: unknown }[] }; finishReason?: string }[]
  promptFeedback?: { blockReason?: string }
  usageMetadata?: { promptTokenCount?: number; candidatesTokenCount?: number; thoughtsTokenCount?: number }
}

export interface GeminiFields extends BaseChatModelParams {
  baseUrl: string
  model: string
  maxTokens: number
  schema: object
  fetch: (url: string, init: RequestInit) => Promise<Response>
}

/** Gemini over generateContent. The library's own model ignores signals, so that a call that hangs cannot be ended. */
export class GeminiChatModel extends BaseChatModel<BaseChatModelCallOptions, AIMessageChunk> {
  readonly #fields: GeminiFields

  constructor(fields: GeminiFields) {
    super({ ...fields, maxRetries: 0 })
    this.#fields = fields
  }

  _llmType(): string {
    return 'gemini'
  }

  override async _generate(messages: BaseMessage[], options: this['ParsedCallOptions']): Promise<ChatResult> {
    const response = await this.#post('generateContent', messages, options)
    const chunk = chunkOf((await response.json()) as GeminiResponse)
    return { generations: [chunk] }
  }

  override async *_streamResponseChunks(messages: BaseMessage[], options: this['ParsedCallOptions']): AsyncGenerator<ChatGenerationChunk> {
    const response = await this.#post('streamGenerateContent?alt=sse', messages, options)
    for await (const data of serverSentData(response)) yield chunkOf(JSON.parse(data) as GeminiResponse)
  }

  async #post(method: string, messages: readonly BaseMessage[], { signal }: this['ParsedCallOptions']): Promise<Response> {
    const { baseUrl, model, fetch } = this.#fields
    const url = `${baseUrl.replace(/\/$/, '')}/v1beta/models/${encodeURIComponent(model)}:${method}`
    const headers = { 'content-type': 'application/json', accept: 'application/json' }
    const init = { method: 'POST', headers, body: JSON.stringify(this.#body(messages)) }
    const response = await fetch(url, signal === undefined ? init : { ...init, signal })
    if (!response.ok) throw new EnvironmentError('MODEL_ANSWER_UNREADABLE', `status ${response.status}`)
    return response
  }

  #body(messages: readonly BaseMessage[]): object {
    const { maxTokens, model, schema } = this.#fields
    const partsOf = (type: string) => messages.filter((message) => message.getType() === type).map(({ text }) => ({ text }))
    return {
      systemInstruction: { parts: partsOf('system') },
      contents: [{ role: 'user', parts: partsOf('human') }],
      generationConfig: {
        temperature: 0,
        maxOutputTokens: maxTokens,
        responseMimeType: 'application/json',
        responseSchema: schema,
        // Thinking counts as output there, and these models can do without.
        ...(/flash/.test(model) ? { thinkingConfig: { thinkingBudget: 0 } } : {}),
      },
    }
  }
}

function chunkOf({ candidates, promptFeedback, usageMetadata }: GeminiResponse): ChatGenerationChunk {
  const [candidate] = candidates ?? []
  const parts = candidate?.content?.parts ?? []
  const text = parts.map((part) => (typeof part.text === 'string' && part.thought !== true ? part.text : '')).join('')
  const finish = candidate?.finishReason ?? (promptFeedback?.blockReason === undefined ? undefined : 'SAFETY')
  const called = parts.some(({ functionCall }) => functionCall !== undefined)
  const { promptTokenCount: input = 0, candidatesTokenCount = 0, thoughtsTokenCount = 0 } = usageMetadata ?? {}
  const output = candidatesTokenCount + thoughtsTokenCount
  const message = new AIMessageChunk({
    content: text,
    // Of a stream, every piece tells the totals so far: they are kept as they are, not added up.
    response_metadata: {
      ...(finish === undefined ? {} : { finish_reason: called ? 'FUNCTION_CALL' : finish }),
      ...(usageMetadata === undefined ? {} : { totals: [input, output] }),
    },
  })
  return new ChatGenerationChunk({ message, text })
}
