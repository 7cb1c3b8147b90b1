import type { TSchema } from 'typebox'
import type { CheckResult } from '../../kernel/schema.ts'

/** Who finds the words of a turn. `local`: rules and statistics of this process, no network. `compatible`: any endpoint that speaks OpenAI's format. */
export const BRAIN_KINDS = ['local', 'claude', 'chatgpt', 'gemini', 'grok', 'perplexity', 'compatible'] as const
export type BrainKind = (typeof BRAIN_KINDS)[number]
/** Those that are models, of somebody else's, over a network. */
export type ProviderKind = Exclude<BrainKind, 'local'>
export const PROVIDER_KINDS: readonly ProviderKind[] = ['claude', 'chatgpt', 'gemini', 'grok', 'perplexity', 'compatible']

/** What the turn wants: the digest of an incident, or an answer to somebody who asked. */
export const BRAIN_PURPOSES = ['summarise', 'answer'] as const
export type BrainPurpose = (typeof BRAIN_PURPOSES)[number]

/** What may be answered: the schema that a model is shown, and the check of what it answers. */
export interface ReplyShape<R> {
  /** JSON Schema: objects with `additionalProperties: false`, arrays, texts, enumerations. */
  schema: TSchema
  check: (value: unknown) => CheckResult<R>
}

/** Everything that a turn gives a brain. */
export interface BrainTask<R> {
  tenant: string
  /** Where it is about; its budget is asked. Absent: nowhere in particular. */
  site?: string
  conversation: string
  /** Of the conversation: what is asked is a span of its trace. */
  correlationId: string
  /** The span of the turn in which it is asked. */
  parentSpanId: string
  agent: string
  /** Of the agents in this round of the conversation, from 1; absent: it is no turn. */
  turn?: number
  purpose: BrainPurpose
  /**
   * The model-facing view: enumerations, numbers and handles (`D1`, `M1`, `c1`, `E1`). Nothing in it is text that a device, a certificate, a
   * webhook or an operator wrote, so nothing of theirs can reach a prompt; a text that does not look like one of ours is refused (`tainted`).
   */
  view: object
  /** Words that the reply may use outside slots; empty: any. Ours, from the verifier's list. */
  words: readonly string[]
  reply: ReplyShape<R>
}

/** Why there is no reply. Which of them may be tried again, and when, is decided below the port; a turn only ends or goes on without. */
export const BRAIN_FAILURES = [
  'timeout',
  'circuit-open',
  'rate-limited',
  'budget-exhausted',
  'quota',
  'unauthorised',
  'rejected',
  'refused',
  'malformed',
  'unavailable',
  'tainted',
  'too-large',
] as const
export type BrainFailure = (typeof BRAIN_FAILURES)[number]

export interface BrainReplied<R> {
  status: 'replied'
  reply: R
  author: BrainAuthor
  inputTokens: number
  outputTokens: number
  /** SHA-256 of the prompt, in hex: what is kept of it. Null: there was none. */
  promptSha256: string | null
}
export interface BrainFailed {
  status: 'failed'
  failure: BrainFailure
  /** In words of ours: nothing that a provider wrote. */
  detail: string
  /** When it may be worth while to ask again, in ms. */
  retryAfterMs: number | null
}
export type BrainOutcome<R> = BrainReplied<R> | BrainFailed

/** Who wrote the words, said wherever they are shown. `model` is null for the local brain. */
export interface BrainAuthor {
  kind: BrainKind
  model: string | null
}

export interface ThinkOptions {
  timeoutMs: number
  signal: AbortSignal
}

/** Whoever finds the words of a turn. */
export interface Brain {
  readonly kind: BrainKind
  /**
   * Answers within `timeoutMs` whatever happens, or when `signal` aborts; never throws for trouble of a provider. The reply passed
   * `task.reply.check` and is otherwise not to be trusted: the caller checks ids, slots, levels and figures.
   */
  think<R>(task: BrainTask<R>, options: ThinkOptions): Promise<BrainOutcome<R>>
}
