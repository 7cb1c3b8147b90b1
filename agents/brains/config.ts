import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../../kernel/errors.ts'
import { BRAIN_KINDS, PROVIDER_KINDS, type BrainKind, type ProviderKind } from './brain.ts'
import { isLoopback } from './endpoint.ts'

const DAY_MS = 86_400_000

const provider = (name: string, defaults: { baseUrl: string; model: string }) =>
  Type.Object(
    {
      apiKey: Type.String({ default: '', maxLength: 512, secret: true, description: `key for ${name}; empty: it cannot be used` }),
      baseUrl: Type.String({
        default: defaults.baseUrl,
        maxLength: 2_048,
        pattern: '^https?://',
        description: `where ${name} is; http only on this machine, or without a key`,
      }),
      model: Type.String({
        default: defaults.model,
        maxLength: 128,
        pattern: '^[A-Za-z0-9][A-Za-z0-9._:/-]*$|^$',
        description: `which model of ${name}`,
      }),
    },
    { additionalProperties: false, default: {} },
  )

/** Settings of the brains that are models. With `brain` local nothing here matters, and no connection is made. */
export const BrainsConfigSchema = Type.Object(
  {
    brain: Type.Unsafe<BrainKind>({
      type: 'string',
      enum: [...BRAIN_KINDS],
      default: 'local',
      env: 'FLEETPULSE_AGENTS_BRAIN',
      description:
        'who words digests after the first: local (rules and statistics, no network), or a model whose every figure is checked before anything is published; compatible: any endpoint that speaks the format of OpenAI, for instance Ollama',
    }),
    claude: provider('Anthropic', { baseUrl: 'https://api.anthropic.com', model: 'claude-sonnet-4-5-20250929' }),
    chatgpt: provider('OpenAI', { baseUrl: 'https://api.openai.com/v1', model: 'gpt-4o' }),
    gemini: provider('Google', { baseUrl: 'https://generativelanguage.googleapis.com', model: 'gemini-2.5-flash' }),
    grok: provider('xAI', { baseUrl: 'https://api.x.ai/v1', model: 'grok-4' }),
    perplexity: provider('Perplexity', { baseUrl: 'https://api.perplexity.ai', model: 'sonar-pro' }),
    compatible: provider('the compatible endpoint', { baseUrl: 'http://127.0.0.1:11434/v1', model: '' }),
    stream: Type.Boolean({
      default: false,
      description: 'true: replies are read piece by piece (server-sent events); false: as one answer. The words are the same',
    }),
    turnTimeoutMs: Type.Integer({
      minimum: 100,
      maximum: 600_000,
      default: 30_000,
      description: 'ms, 100 to 600000: a turn of a model with all its requests; then the local words stand',
    }),
    requestsMax: Type.Integer({
      minimum: 1,
      maximum: 3,
      default: 3,
      description: 'requests of one turn, 1 to 3: retries and the one repair together',
    }),
    retryInitialMs: Type.Integer({
      minimum: 1,
      maximum: 60_000,
      default: 500,
      description: 'ms, 1 to 60000: wait before the second request; doubles',
    }),
    retryMaxMs: Type.Integer({
      minimum: 1,
      maximum: 600_000,
      default: 10_000,
      description: 'ms, retryInitialMs to 600000: longest such wait; Retry-After is honoured beyond it, or the turn ends',
    }),
    connectTimeoutMs: Type.Integer({
      minimum: 50,
      maximum: 60_000,
      default: 5_000,
      description: 'ms, 50 to 60000: name lookup, TCP and TLS, together',
    }),
    maxTokens: Type.Integer({
      minimum: 64,
      maximum: 32_768,
      default: 1_024,
      description: 'tokens of one reply, 64 to 32768: a digest takes a few hundred',
    }),
    promptBytesMax: Type.Integer({
      minimum: 1_024,
      maximum: 1_048_576,
      default: 32_768,
      description: 'bytes of one prompt, 1024 to a MiB, about three to a token; a larger one is not sent',
    }),
    responseBytesMax: Type.Integer({
      minimum: 1_024,
      maximum: 10_485_760,
      default: 1_048_576,
      description: 'bytes of one response, 1024 to 10 MiB; the rest is cut off by closing the connection',
    }),
    inFlightMax: Type.Integer({ minimum: 1, maximum: 64, default: 4, description: 'turns of one model at a time in one process, 1 to 64' }),
    requestsPerMinute: Type.Integer({
      minimum: 1,
      maximum: 100_000,
      default: 50,
      description: 'requests to one provider a minute, 1 to 100000, of all processes together',
    }),
    tokensPerMinute: Type.Integer({
      minimum: 1_000,
      maximum: 100_000_000,
      default: 100_000,
      description: 'tokens of one provider a minute, 1000 to 100 million, of all processes together',
    }),
    tokensPerDay: Type.Integer({
      minimum: 1_000,
      maximum: 1_000_000_000,
      default: 1_000_000,
      description: 'tokens of one provider a day (UTC), 1000 to 1000 million, of all processes together',
    }),
    tokensPerDayPerSite: Type.Integer({
      minimum: 1_000,
      maximum: 1_000_000_000,
      default: 250_000,
      description: 'tokens of one provider a day (UTC) for the incidents of one site (label `site`), 1000 to 1000 million, of all processes together',
    }),
    stormIncidentsMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 5,
      description: 'incidents of stormWindowMs that a model words, the most important ones, 1 to 1000: in a storm the local words of the rest stand',
    }),
    stormWindowMs: Type.Integer({
      minimum: 1_000,
      maximum: DAY_MS,
      default: 600_000,
      description: 'ms, 1000 to a day, in which incidents that opened compete for a model',
    }),
    breakerFailures: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 5,
      description: 'requests that fail in a row, 1 to 100, until a provider is left alone for breakerOpenMs',
    }),
    breakerOpenMs: Type.Integer({
      minimum: 1_000,
      maximum: 3_600_000,
      default: 60_000,
      description: 'ms, 1000 to an hour, without requests; then one shows whether the provider works again',
    }),
    standingRefreshMs: Type.Integer({
      minimum: 100,
      maximum: DAY_MS,
      default: 10_000,
      description: 'ms, 100 to a day: how often is read whether another process found that a provider takes nothing from us',
    }),
    reset: Type.Integer({
      minimum: 0,
      maximum: 1_000_000_000,
      default: 0,
      description:
        'a number to raise: a provider that was switched off (key refused, no credit) is asked again; so is one whose key, address or model changed',
    }),
    casAttemptsMax: Type.Integer({
      minimum: 1,
      maximum: 1_000,
      default: 50,
      description: 'tries of one reservation against other processes, 1 to 1000; then the turn goes on without the model',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type BrainsConfig = Static<typeof BrainsConfigSchema>

/** Why a provider cannot be asked with these settings; null: it can. */
export function providerFault(kind: ProviderKind, config: BrainsConfig): { key: string; problem: string; allowed: string } | null {
  const { apiKey, baseUrl, model } = config[kind]
  if (apiKey === '' && kind !== 'compatible') return { key: 'apiKey', problem: 'is empty', allowed: 'the key of the provider' }
  if (/[^\x21-\x7e]/.test(apiKey)) return { key: 'apiKey', problem: 'has characters that no key has', allowed: 'visible ASCII characters' }
  if (model === '') return { key: 'model', problem: 'is empty', allowed: 'the name of a model' }
  if (!URL.canParse(baseUrl)) return { key: 'baseUrl', problem: 'is no URL', allowed: 'an absolute URL' }
  const url = new URL(baseUrl)
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    return { key: 'baseUrl', problem: 'has more than a host and a path', allowed: 'an absolute URL without credentials or query' }
  if (url.protocol === 'http:' && apiKey !== '' && !isLoopback(url.hostname))
    return { key: 'baseUrl', problem: 'would send the key in the clear', allowed: 'https, or an address of this machine' }
  return null
}

/** Faults that the schema cannot see; `section` is its dotted path. */
export function crossCheckBrainsConfig(config: BrainsConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  for (const kind of PROVIDER_KINDS) {
    // One that is not used and has no key is not meant to work.
    if (kind !== config.brain && config[kind].apiKey === '') continue
    const fault = providerFault(kind, config)
    if (fault !== null) faults.push({ ...fault, key: `${section}.${kind}.${fault.key}` })
  }
  if (config.retryMaxMs < config.retryInitialMs)
    faults.push({
      key: `${section}.retryMaxMs`,
      problem: `${config.retryMaxMs} is less than retryInitialMs`,
      allowed: `at least ${config.retryInitialMs}`,
    })
  const turnTokens = Math.ceil(config.promptBytesMax / 3) + config.maxTokens
  for (const key of ['tokensPerMinute', 'tokensPerDay', 'tokensPerDayPerSite'] as const) {
    if (config[key] < turnTokens)
      faults.push({
        key: `${section}.${key}`,
        problem: `${config[key]} is less than one request may take`,
        allowed: `at least ${turnTokens}`,
      })
  }
  return faults
}
