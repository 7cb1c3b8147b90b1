import { randomUUID } from 'node:crypto'

/** Where a format was taken from. None of these was captured: nothing here was ever run against a live provider. */
export interface Provenance {
  kind: 'from-docs' | 'captured'
  date: string
  apiVersion: string
  page: string
}

/** What a provider answers, as its pages describe it. */
export interface Answer {
  status: number
  headers?: Record<string, string>
  body: unknown
}
/** One event of a stream: its name where the format has one, and its data. */
export interface StreamEvent {
  event?: string
  data: unknown
}

/** One wire: how words, stops and errors look on it. */
export interface WireFixtures {
  provenance: Provenance
  path: RegExp
  isStream: (path: string, body: { stream?: boolean }) => boolean
  reply: (content: string, stop?: 'end' | 'length') => unknown
  replyEvents: (content: string, stop?: 'end' | 'length') => StreamEvent[]
  refusal: () => { json: unknown; events: StreamEvent[] }
  toolCall: () => { json: unknown; events: StreamEvent[] }
  errors: Record<'bad400' | 'key401' | 'quota' | 'rate429' | 'error500' | 'overloaded', Answer>
}

const DATE = '2026-11-21'
export const USAGE = { input: 321, output: 45 }
const pieces = (text: string): string[] => text.match(/[\s\S]{1,40}/g) ?? ['']

const claudeMessage = (content: unknown[], stop: string | null) => ({
  ...{ id: 'msg_01XFDUDYJgAACzvnptvVoYEL', type: 'message', role: 'assistant', model: 'claude-sonnet-4-5-20250929', content },
  ...{ stop_reason: stop, stop_sequence: null },
  usage: { input_tokens: USAGE.input, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: USAGE.output },
})
const toolUse = (name: string, input: unknown) => ({ type: 'tool_use', id: 'toolu_01T1x1fJ34qAmk2tNTrN7Up6', name, input })
function claudeEvents(block: Record<string, unknown>, deltas: unknown[], stop: string): StreamEvent[] {
  const message = claudeMessage([], null)
  const all = [
    { type: 'message_start', message: { ...message, usage: { ...message.usage, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: block },
    { type: 'ping' },
    ...deltas.map((delta) => ({ type: 'content_block_delta', index: 0, delta })),
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: stop, stop_sequence: null }, usage: { output_tokens: USAGE.output } },
    { type: 'message_stop' },
  ]
  return all.map((data) => ({ event: data.type, data }))
}
const claudeError = (status: number, type: string, message: string, headers = {}): Answer => ({
  status,
  headers: { 'request-id': 'req_011CSHoEeqs5C35K2UUqR7Fy', ...headers },
  body: { type: 'error', error: { type, message }, request_id: 'req_011CSHoEeqs5C35K2UUqR7Fy' },
})
/** What is in a tool call is an object where the text is JSON, and text where it is not: as a model that was cut off leaves it. */
const objectOr = (content: string): unknown => {
  try {
    const value = JSON.parse(content) as unknown
    // As deep as can be written again.
    JSON.stringify(value)
    return value
  } catch {
    return { content }
  }
}

export const CLAUDE: WireFixtures = {
  provenance: { kind: 'from-docs', date: DATE, apiVersion: '2023-06-01', page: 'https://platform.claude.com/docs/en/api/messages' },
  path: /^\/v1\/messages$/,
  isStream: (_path, { stream }) => stream === true,
  reply: (content, stop = 'end') => claudeMessage([toolUse('reply', objectOr(content))], stop === 'end' ? 'tool_use' : 'max_tokens'),
  replyEvents: (content, stop = 'end') =>
    claudeEvents(
      toolUse('reply', {}),
      pieces(content).map((partial_json) => ({ type: 'input_json_delta', partial_json })),
      stop === 'end' ? 'tool_use' : 'max_tokens',
    ),
  refusal: () => ({
    json: claudeMessage([{ type: 'text', text: "I can't help with that." }], 'refusal'),
    events: claudeEvents({ type: 'text', text: '' }, [{ type: 'text_delta', text: "I can't" }], 'refusal'),
  }),
  toolCall: () => ({
    json: claudeMessage([toolUse('run_shell', { command: 'reboot' })], 'tool_use'),
    events: claudeEvents(toolUse('run_shell', {}), [{ type: 'input_json_delta', partial_json: '{"command":"reboot"}' }], 'tool_use'),
  }),
  errors: {
    bad400: claudeError(400, 'invalid_request_error', 'max_tokens: Field required'),
    key401: claudeError(401, 'authentication_error', 'invalid x-api-key'),
    quota: claudeError(
      400,
      'invalid_request_error',
      'Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.',
    ),
    rate429: claudeError(429, 'rate_limit_error', 'This request would exceed your rate limit', { 'retry-after': '1' }),
    error500: claudeError(500, 'api_error', 'Internal server error'),
    overloaded: claudeError(529, 'overloaded_error', 'Overloaded'),
  },
}

const openaiMessage = (message: object, finish: string, extra: object = {}) => ({
  ...{ id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT', object: 'chat.completion', created: 1_763_683_200, model: 'gpt-4o-2024-08-06' },
  choices: [
    {
      index: 0,
      message: { role: 'assistant', content: null, refusal: null, annotations: [], ...message },
      logprobs: null,
      finish_reason: finish,
    },
  ],
  usage: {
    ...{ prompt_tokens: USAGE.input, completion_tokens: USAGE.output, total_tokens: USAGE.input + USAGE.output },
    prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
  },
  ...{ service_tier: 'default', system_fingerprint: 'fp_44709d6fcb' },
  ...extra,
})
function openaiEvents(deltas: object[], finish: string, extra: object = {}): StreamEvent[] {
  const chunk = (choices: object[], usage: object | null) => ({
    ...{
      id: 'chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT',
      object: 'chat.completion.chunk',
      created: 1_763_683_200,
      model: 'gpt-4o-2024-08-06',
    },
    ...{ service_tier: 'default', system_fingerprint: 'fp_44709d6fcb', choices, usage },
    ...extra,
  })
  const choice = (delta: object, finish_reason: string | null = null) => chunk([{ index: 0, delta, logprobs: null, finish_reason }], null)
  const usage = { prompt_tokens: USAGE.input, completion_tokens: USAGE.output, total_tokens: USAGE.input + USAGE.output }
  const all: unknown[] = [
    choice({ role: 'assistant', content: '', refusal: null }),
    ...deltas.map((delta) => choice(delta)),
    choice({}, finish),
    chunk([], usage),
  ]
  return [...all, '[DONE]'].map((data) => ({ data }))
}
const openaiError = (status: number, type: string, code: string | null, message: string, headers = {}): Answer => ({
  status,
  headers: { 'x-request-id': `req_${randomUUID().replaceAll('-', '')}`, ...headers },
  body: { error: { message, type, param: null, code } },
})
const openaiFunction = { name: 'run_shell', arguments: '{"command":"reboot"}' }
const openaiCall = { id: 'call_abc123', type: 'function', function: openaiFunction }

export const CHATGPT: WireFixtures = {
  provenance: { kind: 'from-docs', date: DATE, apiVersion: 'v1', page: 'https://platform.openai.com/docs/api-reference/chat' },
  path: /^\/v1\/chat\/completions$/,
  isStream: (_path, { stream }) => stream === true,
  reply: (content, stop = 'end') => openaiMessage({ content }, stop === 'end' ? 'stop' : 'length'),
  replyEvents: (content, stop = 'end') =>
    openaiEvents(
      pieces(content).map((piece) => ({ content: piece })),
      stop === 'end' ? 'stop' : 'length',
    ),
  refusal: () => ({
    json: openaiMessage({ refusal: "I'm sorry, I cannot assist with that request." }, 'stop'),
    events: openaiEvents([{ refusal: "I'm sorry" }, { refusal: ', I cannot assist.' }], 'stop'),
  }),
  toolCall: () => ({
    json: openaiMessage({ tool_calls: [openaiCall] }, 'tool_calls'),
    events: openaiEvents([{ tool_calls: [{ index: 0, ...openaiCall }] }], 'tool_calls'),
  }),
  errors: {
    bad400: openaiError(400, 'invalid_request_error', null, "Invalid schema for response_format 'reply'"),
    key401: openaiError(401, 'invalid_request_error', 'invalid_api_key', 'Incorrect API key provided: sk-ab***cd.'),
    quota: openaiError(
      429,
      'insufficient_quota',
      'insufficient_quota',
      'You exceeded your current quota, please check your plan and billing details.',
    ),
    rate429: openaiError(429, 'requests', 'rate_limit_exceeded', 'Rate limit reached for gpt-4o. Please try again in 1s.', {
      'retry-after': '1',
    }),
    error500: openaiError(500, 'server_error', null, 'The server had an error while processing your request. Sorry about that!'),
    overloaded: openaiError(503, 'service_unavailable', null, 'The engine is currently overloaded, please try again later'),
  },
}

const xaiError = (status: number, code: string, error: string, headers = {}): Answer => ({ status, headers, body: { code, error } })

export const GROK: WireFixtures = {
  ...CHATGPT,
  provenance: { kind: 'from-docs', date: DATE, apiVersion: 'v1', page: 'https://docs.x.ai/docs/api-reference' },
  errors: {
    bad400: xaiError(400, 'Client specified an invalid argument', 'Invalid request content: max_tokens'),
    key401: xaiError(
      400,
      'Client specified an invalid argument',
      'Incorrect API key provided: xa***yz. You can obtain an API key from https://console.x.ai.',
    ),
    quota: xaiError(
      429,
      'Some resource has been exhausted',
      'Your team has either used all available credits or reached its monthly spending limit.',
    ),
    rate429: xaiError(429, 'Some resource has been exhausted', 'Too many requests for team', { 'retry-after': '1' }),
    error500: xaiError(500, 'Internal error', 'Something went wrong'),
    overloaded: xaiError(503, 'The service is currently unavailable', 'Service temporarily unavailable'),
  },
}

const found = { citations: ['https://example.com/a'], search_results: [{ title: 'A', url: 'https://example.com/a', date: null }] }

export const PERPLEXITY: WireFixtures = {
  ...CHATGPT,
  provenance: { kind: 'from-docs', date: DATE, apiVersion: '2025', page: 'https://docs.perplexity.ai/api-reference/chat-completions-post' },
  path: /^\/chat\/completions$/,
  reply: (content, stop = 'end') => openaiMessage({ content }, stop === 'end' ? 'stop' : 'length', found),
  replyEvents: (content, stop = 'end') =>
    openaiEvents(
      pieces(content).map((piece) => ({ content: piece })),
      stop === 'end' ? 'stop' : 'length',
      found,
    ),
  errors: {
    bad400: { status: 400, body: { error: { message: "Invalid model 'sonar-x'", type: 'invalid_model', code: 400 } } },
    // Its door answers before its API does.
    key401: {
      status: 401,
      headers: { 'content-type': 'text/html' },
      body: '<html><head><title>401 Authorization Required</title></head></html>',
    },
    quota: { status: 401, body: { error: { message: 'You exceeded your current quota', type: 'insufficient_quota', code: 401 } } },
    rate429: {
      status: 429,
      headers: { 'retry-after': '1' },
      body: { error: { message: 'Request rate limit exceeded', type: 'rate_limit', code: 429 } },
    },
    error500: { status: 500, body: { error: { message: 'Internal error', type: 'internal_error', code: 500 } } },
    overloaded: { status: 503, body: { error: { message: 'Unavailable', type: 'unavailable', code: 503 } } },
  },
}

export const COMPATIBLE: WireFixtures = {
  ...CHATGPT,
  provenance: { kind: 'from-docs', date: DATE, apiVersion: 'v1', page: 'https://docs.ollama.com/api/openai-compatibility' },
}

const gemini = (parts: unknown[], finishReason: string | null) => ({
  candidates: [{ content: { parts, role: 'model' }, ...(finishReason === null ? {} : { finishReason }), index: 0 }],
  usageMetadata: { promptTokenCount: USAGE.input, candidatesTokenCount: USAGE.output, totalTokenCount: USAGE.input + USAGE.output },
  ...{ modelVersion: 'gemini-2.5-flash', responseId: 'mAitaLmkHPPlz7IPvtfUqQ4' },
})
const geminiError = (code: number, status: string, message: string, details: unknown[] = []): Answer => ({
  status: code,
  body: { error: { code, message, status, details } },
})
const info = (type: string, rest: object) => ({ '@type': `type.googleapis.com/google.rpc.${type}`, ...rest })
const functionCall = [{ functionCall: { name: 'run_shell', args: { command: 'reboot' } } }]
const blocked = {
  promptFeedback: { blockReason: 'SAFETY', safetyRatings: [{ category: 'HARM_CATEGORY_DANGEROUS_CONTENT', probability: 'HIGH' }] },
}
const perDay = {
  violations: [
    { quotaMetric: 'generativelanguage.googleapis.com/generate_content_requests', quotaId: 'GenerateRequestsPerDayPerProjectPerModel' },
  ],
}

export const GEMINI: WireFixtures = {
  provenance: { kind: 'from-docs', date: DATE, apiVersion: 'v1beta', page: 'https://ai.google.dev/api/generate-content' },
  path: /^\/v1beta\/models\/[\w.-]+:(?:generateContent|streamGenerateContent\?alt=sse)$/,
  isStream: (path) => path.includes(':stream'),
  reply: (content, stop = 'end') => gemini([{ text: content }], stop === 'end' ? 'STOP' : 'MAX_TOKENS'),
  replyEvents: (content, stop = 'end') => {
    const all = pieces(content)
    return all.map((text, i) => ({ data: gemini([{ text }], i < all.length - 1 ? null : stop === 'end' ? 'STOP' : 'MAX_TOKENS') }))
  },
  refusal: () => ({ json: blocked, events: [{ data: blocked }] }),
  toolCall: () => ({ json: gemini(functionCall, 'STOP'), events: [{ data: gemini(functionCall, 'STOP') }] }),
  errors: {
    bad400: geminiError(400, 'INVALID_ARGUMENT', 'Invalid JSON payload received. Unknown name "x"'),
    key401: geminiError(400, 'INVALID_ARGUMENT', 'API key not valid. Please pass a valid API key.', [
      info('ErrorInfo', { reason: 'API_KEY_INVALID' }),
    ]),
    quota: geminiError(429, 'RESOURCE_EXHAUSTED', 'You exceeded your current quota', [
      info('QuotaFailure', perDay),
      info('RetryInfo', { retryDelay: '34s' }),
    ]),
    rate429: geminiError(429, 'RESOURCE_EXHAUSTED', 'Resource has been exhausted', [info('RetryInfo', { retryDelay: '1s' })]),
    error500: geminiError(500, 'INTERNAL', 'An internal error has occurred'),
    overloaded: geminiError(503, 'UNAVAILABLE', 'The model is overloaded. Please try again later.'),
  },
}

export const FIXTURES = {
  claude: CLAUDE,
  chatgpt: CHATGPT,
  gemini: GEMINI,
  grok: GROK,
  perplexity: PERPLEXITY,
  compatible: COMPATIBLE,
} as const
