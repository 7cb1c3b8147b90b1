import type { Clock } from '../../kernel/time.ts'
import { checkDraft, DraftSchema } from '../summary/draft.ts'
import type { Brain, BrainFailure, BrainKind } from '../brains/brain.ts'
import type { EvidenceConfig } from '../evidence/config.ts'
import type { Sources } from '../evidence/sources.ts'
import type { Tools } from '../evidence/tool-spans.ts'
import { passGate, type GateAnswer } from '../summary/gate.ts'
import type { Investigation } from '../summary/investigation.ts'
import { modelView } from '../summary/model-view.ts'
import type { Summary } from '../summary/summary.ts'
import { DIRECTIONS, GLUE, OPS_OF_WORD } from '../summary/verifier/words.ts'
import type { Turn } from '../turns/speaker.ts'
import { responseSpan } from '../turns/turn-spans.ts'

/** What the verifier lets stand outside slots. */
const WORDS: readonly string[] = [...new Set([...GLUE, ...OPS_OF_WORD.keys(), ...DIRECTIONS.keys()])]

/** The models that agents may ask. */
export interface Models {
  /** Null: the local words alone. */
  readonly configured: Brain | null
  /** Of the incidents that opened within so long, so many may be worded by a model. */
  readonly storm?: { incidentsMax: number; windowMs: number }
  fellBack(from: BrainKind, reason: BrainFailure | 'unverified' | 'storm'): void
}

export interface RewordingOptions {
  models: Models
  sources: Sources
  config: EvidenceConfig
  clock: Clock
  /** What verifying it is seen by. */
  tools?: Tools
  /** Told what the gate said of the model's draft. */
  judged: (answer: GateAnswer) => void
}

export interface Reworded {
  summary: Summary
  /** That the model wrote. */
  outputTokens: number
  /** That its provider said it used, input and output; null: it did not say. */
  tokens: number | null
}

/** A model's words for what the local reporter published, if every claim in them verifies; null: the local ones stand. */
export async function reword(
  { conversation, agent, epoch, signal, log }: Turn,
  investigation: Investigation,
  { models, sources, config, clock, judged, tools }: RewordingOptions,
): Promise<Reworded | null> {
  const brain = models.configured
  if (brain === null) return null
  const { tenant, id, site, correlationId } = conversation
  const view = modelView(investigation)
  const task = {
    tenant,
    site,
    conversation: id,
    correlationId,
    parentSpanId: responseSpan(id, epoch),
    agent,
    turn: conversation.turns + 1,
    purpose: 'summarise' as const,
    view,
    words: WORDS,
    reply: { schema: DraftSchema, check: checkDraft },
  }
  // Its own bound of a turn holds; the signal ends it when the floor is lost before.
  const outcome = await brain.think(task, { timeoutMs: Infinity, signal })
  if (outcome.status === 'failed') {
    models.fellBack(brain.kind, outcome.failure)
    return null
  }
  const author = { kind: 'llm' as const, provider: outcome.author.kind, model: outcome.author.model ?? '' }
  const answer = await passGate(outcome.reply, {
    investigation,
    sources,
    author,
    config,
    clock,
    signal,
    ...(tools === undefined ? {} : { tools }),
  })
  judged(answer)
  if (answer.status === 'passed') {
    log.info(
      { conversation: id, provider: author.provider, model: author.model, promptSha256: outcome.promptSha256 },
      "a model's digest verified",
    )
    const { inputTokens, outputTokens } = outcome
    const used = inputTokens + outputTokens
    return { summary: answer.summary, outputTokens, tokens: used === 0 ? null : used }
  }
  models.fellBack(brain.kind, 'unverified')
  return null
}
