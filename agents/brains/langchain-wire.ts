import type { ChatAnthropic } from '@langchain/anthropic'
import type { BaseChatModel } from '@langchain/core/language_models/chat_models'
import type { AIMessage, AIMessageChunk, BaseMessage } from '@langchain/core/messages'
import type { ChatOpenAICompletions } from '@langchain/openai'
import type { ProviderKind } from './brain.ts'
import { Endpoint } from './exchange.ts'
import { geminiSchema, plainSchema } from './wire-schema.ts'
import type { ModelAnswer, Stop, Wire, WireRequest } from './wire.ts'
import type { Clock } from '../../kernel/time.ts'

export interface WireOptions {
  kind: ProviderKind
  apiKey: string
  baseUrl: string
  model: string
  stream: boolean
  maxTokens: number
  connectTimeoutMs: number
  turnTimeoutMs: number
  requestBytesMax: number
  responseBytesMax: number
  clock: Clock
}

/** Name of what a model is made to call where a provider has no other way to structured output, and of the schema elsewhere. */
const REPLY = 'reply'
/** Some libraries look for a key in the environment when they are given none. The door in front of them sends the configured one or nothing. */
const NO_KEY = 'none'

type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>
/** A model for one request, and what is said to it besides the messages. */
interface Prepared {
  model: BaseChatModel
  options: Record<string, unknown>
}

/**
 * Models through LangChain's classes, without its runtime: what would trace (LangSmith), call back or try again is above `_generate`, and that is
 * called directly. So no environment variable can turn tracing on.
 */
export class LangChainWire implements Wire {
  readonly #options: WireOptions
  readonly #endpoint: Endpoint

  constructor(options: WireOptions) {
    this.#options = options
    this.#endpoint = new Endpoint({ ...options, credentials: credentialsOf(options) })
  }

  async ask({ prompt, schema, exchange, signal }: WireRequest): Promise<ModelAnswer> {
    const { stream, kind } = this.#options
    const fetch = this.#endpoint.fetchFor(exchange, signal, stream ? 'stream' : 'json')
    const { HumanMessage, SystemMessage } = await import('@langchain/core/messages')
    const messages = [new SystemMessage(prompt.system), new HumanMessage(prompt.user)]
    const { model, options } = await PREPARE[kind](this.#options, schema, fetch)
    const all = { ...options, signal }
    return answerOf(await (stream ? streamed(model, messages, all) : generated(model, messages, all)))
  }

  close(): Promise<void> {
    return this.#endpoint.close()
  }
}

function credentialsOf({ kind, apiKey }: WireOptions): Record<string, string> {
  if (apiKey === '') return {}
  if (kind === 'claude') return { 'x-api-key': apiKey }
  return kind === 'gemini' ? { 'x-goog-api-key': apiKey } : { authorization: `Bearer ${apiKey}` }
}

type Prepare = (options: WireOptions, schema: WireRequest['schema'], fetch: Fetch) => Promise<Prepared>

/** https://platform.claude.com/docs/en/api/messages: structured output is a tool that must be called. */
const claude: Prepare = async ({ baseUrl, model: name, maxTokens, stream }, schema, fetch) => {
  const { ChatAnthropic: Model } = await import('@langchain/anthropic')
  const model: ChatAnthropic = new Model({
    ...{ apiKey: NO_KEY, anthropicApiUrl: baseUrl, model: name, temperature: 0, maxTokens, maxRetries: 0, streaming: stream },
    clientOptions: { fetch, maxRetries: 0, logLevel: 'off', authToken: null },
  })
  const tools = [{ name: REPLY, description: 'The reply.', input_schema: plainSchema(schema) }]
  return { model, options: { tools, tool_choice: { type: 'tool', name: REPLY, disable_parallel_tool_use: true } } }
}

/** https://platform.openai.com/docs/api-reference/chat, and those who speak it. */
const openai =
  (extra: Record<string, unknown> = {}): Prepare =>
  async ({ baseUrl, model: name, maxTokens, stream }, schema, fetch) => {
    const { ChatOpenAICompletions: Model } = await import('@langchain/openai')
    const response_format = { type: 'json_schema', json_schema: { name: REPLY, schema: plainSchema(schema), strict: true } }
    // Added below the libraries: told of it, they parse the words and throw them away where they are no JSON.
    const formatted: Fetch = (input, init) => {
      const body = { ...(JSON.parse(String(init?.body)) as object), response_format }
      return fetch(input, { ...init, body: JSON.stringify(body) })
    }
    const model: ChatOpenAICompletions = new Model({
      ...{ apiKey: NO_KEY, model: name, temperature: 0, maxTokens, maxRetries: 0, streaming: stream, modelKwargs: extra },
      // A refusal is not among what the library passes on.
      __includeRawResponse: true,
      configuration: { baseURL: baseUrl, fetch: formatted, maxRetries: 0, logLevel: 'off', organization: null, project: null },
    })
    return { model, options: {} }
  }

/** https://ai.google.dev/api/generate-content */
const gemini: Prepare = async ({ baseUrl, model: name, maxTokens }, schema, fetch) => {
  const { GeminiChatModel } = await import('./gemini-chat-model.ts')
  return { model: new GeminiChatModel({ baseUrl, model: name, maxTokens, schema: geminiSchema(schema), fetch }), options: {} }
}

const PREPARE: Readonly<Record<ProviderKind, Prepare>> = {
  claude,
  gemini,
  chatgpt: openai({ store: false }),
  grok: openai(),
  // Otherwise it looks on the web for whatever the prompt says.
  perplexity: openai({ disable_search: true }),
  compatible: openai(),
}

/** What a model called: its name, and what it gave, as text where it came in pieces. */
interface Call {
  name: string
  given: string | object
}
/** What a model said, and what was said besides. */
interface Said {
  text: string
  calls: readonly Call[]
  metadata: Record<string, unknown>
}

async function generated(model: BaseChatModel, messages: BaseMessage[], options: Record<string, unknown>): Promise<Said> {
  const { generations } = await model._generate(messages, options)
  const message = generations[0]?.message as AIMessage | undefined
  const metadata: Record<string, unknown> = {
    ...message?.additional_kwargs,
    ...message?.response_metadata,
    ...generations[0]?.generationInfo,
  }
  const usage = message?.usage_metadata as { input_tokens?: number; output_tokens?: number } | undefined
  if (usage !== undefined) metadata.totals ??= [usage.input_tokens ?? null, usage.output_tokens ?? null]
  const calls = [...(message?.tool_calls ?? []), ...(message?.invalid_tool_calls ?? [])]
  return { text: message?.text ?? '', calls: calls.map(({ name = '', args = '' }) => ({ name, given: args })), metadata }
}

/**
 * Joined here, because the library parses everything so far with every piece: hostile pieces would keep the process busy for minutes, and
 * what broke off would be mended into something that was never said.
 */
async function streamed(model: BaseChatModel, messages: BaseMessage[], options: Record<string, unknown>): Promise<Said> {
  const texts: string[] = []
  const calls = new Map<number, { name: string; pieces: string[] }>()
  const metadata: Record<string, unknown> = {}
  let refused = false
  for await (const chunk of model._streamResponseChunks(messages, options)) {
    const message = chunk.message as AIMessageChunk
    texts.push(message.text)
    for (const { index = 0, name, args } of message.tool_call_chunks ?? []) {
      const call = calls.get(index) ?? { name: '', pieces: [] }
      calls.set(index, { name: call.name + (name ?? ''), pieces: call.pieces })
      call.pieces.push(args ?? '')
    }
    Object.assign(metadata, message.additional_kwargs, chunk.generationInfo, message.response_metadata)
    refused ||= isRefusal(metadata)
    // Each tells what was used so far, where it tells it.
    const { input_tokens: input = 0, output_tokens: output = 0 } = message.usage_metadata ?? {}
    const [inputBefore, outputBefore] = (metadata.totals as [number, number] | undefined) ?? [0, 0]
    if (input + output > 0) metadata.totals = [Math.max(input, inputBefore), Math.max(output, outputBefore)]
  }
  if (refused) metadata.finish_reason = 'refusal'
  return { text: texts.join(''), calls: [...calls.values()].map(({ name, pieces }) => ({ name, given: pieces.join('') })), metadata }
}

/** OpenAI tells a refusal beside the words: `choices[].message.refusal`, of a stream `choices[].delta.refusal`. */
function isRefusal({ __raw_response: raw }: Record<string, unknown>): boolean {
  const [choice] = (raw as { choices?: { message?: { refusal?: unknown }; delta?: { refusal?: unknown } }[] } | undefined)?.choices ?? []
  const refusal = choice?.message?.refusal ?? choice?.delta?.refusal
  return typeof refusal === 'string' && refusal !== ''
}

const STOPS: Readonly<Record<string, Stop>> = {
  ...{ stop: 'end', end_turn: 'end', tool_use: 'end', STOP: 'end' },
  ...{ length: 'length', max_tokens: 'length', model_context_window_exceeded: 'length', MAX_TOKENS: 'length' },
  ...{ content_filter: 'refused', refusal: 'refused', SAFETY: 'refused', PROHIBITED_CONTENT: 'refused', BLOCKLIST: 'refused' },
  ...{ RECITATION: 'refused', SPII: 'refused' },
}

function answerOf({ text, calls, metadata }: Said): ModelAnswer {
  const finish = isRefusal(metadata) ? 'refusal' : (metadata.finish_reason ?? metadata.stop_reason)
  const stop = typeof finish === 'string' ? (STOPS[finish] ?? 'other') : null
  const [inputTokens, outputTokens] = (metadata.totals as [number | null, number | null] | undefined) ?? [null, null]
  return { content: contentOf(text, calls), stop, inputTokens, outputTokens }
}

/** A call of anything but the one thing that may be called is no reply. */
function contentOf(text: string, calls: readonly Call[]): string | object | null {
  const [call] = calls
  if (call === undefined) return text
  return calls.length === 1 && call.name === REPLY ? call.given : null
}
