import { Type, type Static } from 'typebox'
import { CAUSE_CODES, LEVELS, type CauseCode, type Level } from '../causes/catalogue.ts'
import { RUNBOOK_IDS, type RunbookId } from '../causes/runbooks.ts'
import { compileSchema } from '../../kernel/schema.ts'
import type { ClaimId, EvidenceHandle } from './claim.ts'

/** Bounds of a draft: what is longer is not read by anyone. */
export const TEXT_LENGTH_MAX = 600
export const SENTENCES_MAX = 16
const IDS_MAX = 24
const CAUSES_MAX = 8
/** Bytes of a draft as JSON: everything above together, roomily. */
export const DRAFT_BYTES_MAX = 65_536

export const SENTENCE_SECTIONS = ['what_happened', 'impact'] as const
export type SentenceSection = (typeof SENTENCE_SECTIONS)[number]

const ClaimIdSchema = Type.Unsafe<ClaimId>({ type: 'string', pattern: '^c[1-9][0-9]{0,2}$' })
const EvidenceHandleSchema = Type.Unsafe<EvidenceHandle>({ type: 'string', pattern: '^E[1-9][0-9]{0,2}$' })
const TextSchema = Type.String({ minLength: 1, maxLength: TEXT_LENGTH_MAX })

/**
 * All that a model may return, and all that the local reporter returns: words with slots, and choices from what the investigation found.
 * No figure, no name, no cause of its own; no tool, no markup, no control.
 */
export const DraftSchema = Type.Object(
  {
    headline: TextSchema,
    sentences: Type.Array(
      Type.Object(
        {
          section: Type.Unsafe<SentenceSection>({ type: 'string', enum: [...SENTENCE_SECTIONS] }),
          text: TextSchema,
          claims: Type.Array(ClaimIdSchema, { minItems: 1, maxItems: IDS_MAX, uniqueItems: true }),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: SENTENCES_MAX },
    ),
    causes: Type.Array(
      Type.Object(
        {
          code: Type.Unsafe<CauseCode>({ type: 'string', enum: [...CAUSE_CODES] }),
          level: Type.Unsafe<Level>({ type: 'string', enum: [...LEVELS] }),
          evidence: Type.Array(EvidenceHandleSchema, { maxItems: IDS_MAX, uniqueItems: true }),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: CAUSES_MAX },
    ),
    checks: Type.Array(Type.Unsafe<RunbookId>({ type: 'string', enum: [...RUNBOOK_IDS] }), {
      minItems: 1,
      maxItems: CAUSES_MAX,
      uniqueItems: true,
    }),
    control: Type.Null(),
  },
  { additionalProperties: false },
)
export type Draft = Static<typeof DraftSchema>

export const checkDraft = compileSchema(DraftSchema)
