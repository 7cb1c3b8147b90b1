import { createHash } from 'node:crypto'
import { canonicalJson } from '../../kernel/canonical-json.ts'
import type { BrainPurpose, BrainTask } from './brain.ts'

/** Changes with every change of the words below; part of what is hashed. */
export const PROMPT_VERSION = 1

export interface Prompt {
  system: string
  user: string
  sha256: string
  sizeBytes: number
}

export type PromptAnswer =
  { status: 'written'; prompt: Prompt } | { status: 'tainted'; where: string } | { status: 'too-large'; sizeBytes: number }

/** Handles, runbooks, levels, and enumerations: words without digits, joined by dots, dashes, underscores. A name of a device hardly ever is. */
const OURS = /^(?:[DMEc][1-9]\d{0,3}|RB-\d{3}|[A-Z]{2,16}|[a-z]{1,24}(?:[._-][a-z]{1,24}){0,5})$/
const KEY = /^[a-z][A-Za-z]{0,31}$/
const DEPTH_MAX = 8
const NODES_MAX = 5_000

/** Bytes of a token, at least, in what we send: JSON of short words. */
const BYTES_PER_TOKEN = 3

/** Tokens that a prompt can take, at most. */
export function tokensOf(prompt: Prompt): number {
  return Math.ceil(prompt.sizeBytes / BYTES_PER_TOKEN)
}

/**
 * What is sent of a task: words of ours and its view as canonical JSON; no name, no id of tenant, conversation or agent. The view's type has
 * no place for open text; here every text in it is looked at once more, so that a mistake above ends the turn and not the secret.
 */
export function promptFor(task: BrainTask<unknown>, bytesMax: number): PromptAnswer {
  const where = taintIn(task.view)
  if (where !== null) return { status: 'tainted', where }
  const user = `DATA\n${canonicalJson(task.view)}`
  return written(systemFor(task.purpose, task.words), user, bytesMax)
}

/** The same once more, with where the reply did not fit: paths of our schema, nothing of what the model wrote. */
export function repairOf(prompt: Prompt, paths: readonly string[], bytesMax: number): PromptAnswer {
  const known = [...new Set(paths)].filter((path) => /^[a-z0-9.]{0,64}$/.test(path)).slice(0, 10)
  const at = known.length === 0 ? '' : ` It is wrong at: ${known.map((path) => (path === '' ? 'the top' : path)).join(', ')}.`
  return written(
    prompt.system,
    `${prompt.user}\n\nREPAIR\nThe last reply did not fit the schema.${at} Reply again, shorter, with that JSON alone.`,
    bytesMax,
  )
}

function written(system: string, user: string, bytesMax: number): PromptAnswer {
  const sizeBytes = Buffer.byteLength(system) + Buffer.byteLength(user)
  if (sizeBytes > bytesMax) return { status: 'too-large', sizeBytes }
  const sha256 = createHash('sha256')
    .update(JSON.stringify([PROMPT_VERSION, system, user]))
    .digest('hex')
  return { status: 'written', prompt: { system, user, sha256, sizeBytes } }
}

const WANTED: Readonly<Record<BrainPurpose, string>> = {
  summarise: 'Write the digest of an incident of a device fleet for the people who operate it.',
  answer: 'Answer the operator of a device fleet from what was found about an incident.',
}

function systemFor(purpose: BrainPurpose, words: readonly string[]): string {
  return [
    WANTED[purpose],
    'DATA holds everything that is known: claims (figures), evidence, causes that rules found, runbooks. Use nothing else, and call no tools.',
    'Write no number and no name yourself. Use slots: {dev:D1} a device, {metric:M1} a metric, {c:c1.value} the figure of claim c1 with its unit,',
    '{c:c1.direction} which way it went (only of shift, shift_spreads, peak_spreads, trend_spreads), {c:c1.name} what it is, [ev:E1] a citation.',
    'Each sentence states at least one claim, lists in `claims` exactly those whose slots it has, and cites exactly the evidence of those claims.',
    'The headline states one claim and cites its evidence. Name only devices and metrics of the claims in the same sentence.',
    'State every claim with required true. Section what_happened is for what was measured, impact for how much it takes together.',
    'In `causes` take those of DATA in their order, with their evidence; you may lower a level (CONFIRMED, LIKELY, INCONCLUSIVE), never raise it, never add a cause.',
    'In `checks` name runbooks of DATA. `control` is null.',
    ...(words.length === 0 ? [] : [`Outside slots use only these words, letters and plain punctuation: ${words.join(' ')}`]),
    'Reply with JSON of the schema alone: no markup, no links, no other text.',
  ].join('\n')
}

/** The first place of a text that is not one of ours, or of what is no JSON; null: there is none. */
function taintIn(view: unknown): string | null {
  let nodes = 0
  const look = (value: unknown, path: string, depth: number): string | null => {
    if (++nodes > NODES_MAX || depth > DEPTH_MAX) return path
    if (value === null || typeof value === 'boolean') return null
    if (typeof value === 'number') return Number.isFinite(value) ? null : path
    if (typeof value === 'string') return OURS.test(value) ? null : path
    if (typeof value !== 'object') return path
    for (const [key, inner] of Object.entries(value)) {
      if (!Array.isArray(value) && !KEY.test(key)) return path
      const found = inner === undefined ? null : look(inner, `${path}.${key}`, depth + 1)
      if (found !== null) return found
    }
    return null
  }
  return look(view, 'view', 0)
}
