import { Type, type Static } from 'typebox'
import { AuthorSchema } from './conversation.ts'

/** What is known of an incident, in words whose every figure was checked: the data of event `SummaryPublished` on topic `digests`. */
export const DigestSchema = Type.Object({
  incident: Type.String(),
  tenant: Type.String(),
  conversation: Type.String(),
  /** From 1 without gaps; a later one takes the place of those before. */
  revision: Type.Integer({ minimum: 1 }),
  publishedAt: Type.Integer({ description: 'epoch ms' }),
  headline: Type.String(),
  sections: Type.Array(Type.Object({ title: Type.String(), lines: Type.Array(Type.String()) })),
  level: Type.String({ description: 'CONFIRMED, LIKELY or INCONCLUSIVE: of its first cause' }),
  causes: Type.Array(Type.Object({ code: Type.String(), level: Type.String() })),
  label: Type.String({ description: 'who wrote it: rules and statistics, or which model; shown wherever the digest is' }),
  author: AuthorSchema,
  evidenceHash: Type.String({ description: 'equal while nothing that matters has changed' }),
  evidence: Type.Array(Type.String(), { description: 'ids of the evidence that it stands on' }),
})
export type Digest = Static<typeof DigestSchema>

/** What is on topic `digests`, for whoever is not an agent. */
export interface DigestReader {
  /** The revision that a message tells of; null: it tells of something else, or nobody of ours wrote it. */
  read(message: { headers: Readonly<Record<string, string>>; value: Uint8Array }): Digest | null
}
