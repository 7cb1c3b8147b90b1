import { describeError, InternalError } from '../../kernel/errors.ts'
import type { Clock } from '../../kernel/time.ts'
import { Deadline } from '../checks/run-checks.ts'
import type { EvidenceConfig } from '../evidence/config.ts'
import type { Evidence } from '../evidence/evidence.ts'
import type { Sources } from '../evidence/sources.ts'
import { UNSEEN_TOOLS, type Tools } from '../evidence/tool-spans.ts'
import type { EvidenceHandle } from './claim.ts'
import { checkDraft, DRAFT_BYTES_MAX, type Draft } from './draft.ts'
import type { Investigation } from './investigation.ts'
import { authorLabel, type Author } from './label.ts'
import { render } from './render.ts'
import { TEMPLATE_VERSION, type Summary } from './summary.ts'
import { verify } from './verifier/verify.ts'
import { VERIFIER, type Verdict } from './verifier/verdict.ts'

export interface GateOptions {
  investigation: Investigation
  sources: Sources
  author: Author
  config: EvidenceConfig
  /** With it verifying is bounded by `verifyTimeoutMs`, and ends when the signal aborts: then nothing passes. */
  clock?: Clock
  signal?: AbortSignal
  /** Sees the verifying. */
  tools?: Tools
}

export type GateAnswer = { status: 'passed'; summary: Summary } | { status: 'refused'; verdict: Exclude<Verdict, { status: 'verified' }> }

/**
 * The one way to a published digest, for the local reporter's drafts and a model's alike: text of JSON, or a value that came from it. What
 * does not verify does not pass; nothing is mended.
 */
export async function passGate(
  candidate: unknown,
  { investigation, sources, author, config, clock, signal, tools = UNSEEN_TOOLS }: GateOptions,
): Promise<GateAnswer> {
  const read = readDraft(candidate)
  if (read.status === 'refused') return read
  const { draft } = read
  const verifying = (until?: AbortSignal): Promise<Verdict> =>
    verify({ draft, investigation }, sources, until === undefined ? { config } : { config, signal: until })
  const bounded = (): Promise<Verdict> =>
    clock === undefined
      ? verifying()
      : inTime(verifying, new Deadline(config.verifyTimeoutMs, clock, signal ?? new AbortController().signal))
  const verdict = await tools.run('function', 'verify_digest', bounded, ({ status }) => ({
    attributes: { 'verifier.status': status },
    failure: status === 'unavailable' ? status : null,
  }))
  if (verdict.status !== 'verified') return { status: 'refused', verdict }
  return { status: 'passed', summary: summaryOf(draft, investigation, author, verdict.claims) }
}

/** What cannot be verified in time is not verified. */
async function inTime(verifying: (until: AbortSignal) => Promise<Verdict>, deadline: Deadline): Promise<Verdict> {
  try {
    return await deadline.of(verifying(deadline.signal))
  } catch (error) {
    return { status: 'unavailable', reason: describeError(error), checkedBy: VERIFIER }
  } finally {
    deadline.cancel()
  }
}

/** Bounded before it is parsed, and copied: what the caller still holds cannot change what was checked. */
export function readDraft(
  candidate: unknown,
): { status: 'read'; draft: Draft } | { status: 'refused'; verdict: Exclude<Verdict, { status: 'verified' }> } {
  const no = (code: 'too_large' | 'bad_shape', detail: string) => {
    const verdict = { status: 'refused' as const, faults: [{ code, where: '', detail }], checkedBy: VERIFIER }
    return { status: 'refused' as const, verdict }
  }
  try {
    const text = typeof candidate === 'string' ? candidate : JSON.stringify(candidate)
    if (typeof text !== 'string') return no('bad_shape', 'it is not JSON')
    if (text.length > DRAFT_BYTES_MAX) return no('too_large', 'it is larger than any draft')
    const checked = checkDraft(JSON.parse(text))
    if (checked.status === 'invalid') return no('bad_shape', 'it is not a draft')
    return { status: 'read', draft: checked.value }
  } catch (error) {
    // Cycles, depth beyond the stack, text that is no JSON: whatever it is, it is not a draft.
    if (error instanceof InternalError) throw error
    return no('bad_shape', 'it is not JSON')
  }
}

function summaryOf(draft: Draft, investigation: Investigation, author: Author, claims: number): Summary {
  const { incident, asOf, evidenceHash, evidence, checks, gaps, history, proposals, features, names } = investigation
  const ids = Object.entries(evidence).map(([handle, { id }]: [string, Evidence]) => [handle as EvidenceHandle, id] as const)
  return {
    ...{
      incident: incident.id,
      tenant: incident.tenant,
      author,
      label: authorLabel(author),
      templateVersion: TEMPLATE_VERSION,
      asOf,
      evidenceHash,
    },
    ...render(draft, investigation),
    ...{ draft, claims: investigation.claims, evidence: Object.fromEntries(ids), checks, causes: draft.causes },
    level: draft.causes[0]?.level ?? 'INCONCLUSIVE',
    ...{ gaps, history, proposals, features, names, verification: { checkedBy: VERIFIER, claims } },
  }
}
