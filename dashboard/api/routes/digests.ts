import { Type } from 'typebox'
import { CLAIM_OPS, type Claim } from '../../../agents/summary/claim.ts'
import { figureText } from '../../../agents/summary/figures.ts'
import type { Names } from '../../../agents/summary/investigation.ts'
import { gapText } from '../../../agents/summary/render.ts'
import { namedAuthor } from '../../../agents/summary/label.ts'
import { RATING_NOTE_LENGTH_MAX, type Rating, type SummaryDocument } from '../../../agents/summary/summary-store.ts'
import { participantOf } from '../../../agents/access/rights.ts'
import { AuthorSchema } from '../../../contracts/conversation.ts'
import type { DigestNotice } from '../../../contracts/conversation-frame.ts'
import { NotFoundError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

const tags = ['incidents']
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const RatingSchema = Type.Object({
  stars: Type.Integer({ minimum: 1, maximum: 5 }),
  verdict: Type.Unsafe<Rating['verdict']>({ type: 'string', enum: ['right', 'partly', 'wrong'] }),
  note: Type.String({ maxLength: RATING_NOTE_LENGTH_MAX, default: '' }),
})
const textOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description })
const DigestView = Type.Object({
  incident: Type.String(),
  revision: Type.Integer(),
  status: Type.String({ description: 'published, or superseded by a later revision' }),
  publishedAt: Type.Integer({ description: 'epoch ms' }),
  asOf: Type.Integer({ description: 'what was received later does not count, epoch ms' }),
  label: Type.String({ description: 'who wrote it; to be shown with it' }),
  author: AuthorSchema,
  headline: Type.String(),
  sections: Type.Array(Type.Object({ title: Type.String(), lines: Type.Array(Type.String()) })),
  level: Type.String({ description: 'CONFIRMED, LIKELY or INCONCLUSIVE' }),
  causes: Type.Array(Type.Object({ code: Type.String(), level: Type.String() })),
  evidence: Type.Record(Type.String(), Type.String(), { description: 'ids of evidence by handle' }),
  claims: Type.Array(
    Type.Object({
      id: Type.String(),
      op: Type.String({ description: 'which figure' }),
      says: Type.String({ description: 'what it is, for people' }),
      figure: Type.String({ description: 'with its unit, for people' }),
      value: Type.Number(),
      unit: Type.String(),
      device: textOrNull('null: of the incident as a whole'),
      metric: textOrNull('null: not of one metric'),
      window: Type.Union([Type.Object({ from: Type.Integer(), to: Type.Integer() }), Type.Null()], { description: 'event time, epoch ms' }),
      evidence: Type.Array(Type.String(), { description: 'handles of the evidence that says so' }),
    }),
  ),
  gaps: Type.Array(Type.Object({ code: Type.String(), check: textOrNull('null: the whole'), says: Type.String() }), {
    description: 'what could not be checked, or not wholly',
  }),
  verification: Type.Object({ checkedBy: Type.String(), claims: Type.Integer() }),
  rating: Type.Union([Type.Intersect([RatingSchema, Type.Object({ by: Type.String(), at: Type.Integer() })]), Type.Null()]),
})

/** The digest of an incident and the evidence that it cites. */
export function digestRoutes(api: Api, context: RouteContext): void {
  const { digests } = context
  api.get(
    '/incidents/:id/digest',
    {
      schema: {
        summary: 'The digest of an incident: what is known of it, every figure checked',
        tags,
        params: IdSchema,
        querystring: Type.Object({ revision: Type.Optional(Type.Integer({ minimum: 1, description: 'default: the newest' })) }),
        response: { 200: DigestView, ...problemResponses() },
      },
    },
    async (request) => {
      const { id } = request.params
      const { tenant } = context.allow(request, 'read', 'alerts', id)
      const { revision } = request.query
      const found = revision === undefined ? await digests.newest(tenant, id) : await digests.get(tenant, id, revision)
      if (found === null)
        throw new NotFoundError(`there is no digest of incident ${id}${revision === undefined ? ' yet' : ` with revision ${revision}`}`)
      return viewOf(found)
    },
  )
  const rate = Type.Intersect([RatingSchema, Type.Object({ revision: Type.Integer({ minimum: 1 }) })])
  api.post(
    '/incidents/:id/feedback',
    {
      schema: {
        summary: 'Rate a revision of the digest',
        tags,
        params: IdSchema,
        body: rate,
        response: { 200: DigestView, ...problemResponses() },
      },
    },
    async (request) => {
      const { id } = request.params
      const principal = context.allow(request, 'write', 'alerts', id)
      const { revision, stars, verdict, note } = request.body
      const rated = await digests.rate(principal.tenant, id, revision, { stars, verdict, note, by: participantOf(principal) })
      await context.conversations.tellRated(principal, id, { revision, stars, verdict })
      context.tell(request, { after: { revision, stars, verdict } })
      return viewOf(rated)
    },
  )
  evidenceRoute(api, context)
}

function evidenceRoute(api: Api, { allow, evidence }: RouteContext): void {
  const EvidenceView = Type.Object({
    id: Type.String(),
    kind: Type.String(),
    status: Type.String(),
    asOf: Type.Integer(),
    query: Type.Unknown(),
    result: Type.Unknown(),
    refs: Type.Array(Type.Unknown()),
    truncated: Type.Boolean(),
  })
  api.get(
    '/evidence/:id',
    {
      schema: {
        summary: 'One piece of evidence: what was asked and what was found',
        tags,
        params: IdSchema,
        response: { 200: EvidenceView, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = allow(request, 'read', 'alerts', request.params.id)
      const found = await evidence.get(tenant, request.params.id)
      if (found === null) throw new NotFoundError(`there is no evidence ${request.params.id}`)
      return found
    },
  )
}

function viewOf({ incident, revision, status, publishedAt, summary, rating }: SummaryDocument) {
  const { asOf, label, headline, sections, level, causes, evidence, verification, claims, gaps, names } = summary
  const said = causes.map(({ code, level: sure }) => ({ code, level: sure }))
  return {
    ...{
      incident,
      revision,
      status,
      publishedAt,
      asOf,
      label,
      author: namedAuthor(summary.author),
      headline,
      sections,
      level,
      causes: said,
      evidence,
    },
    claims: claims.map((claim) => claimView(claim, names)),
    gaps: gaps.map((gap) => ({ ...gap, says: gapText(gap) })),
    ...{ verification, rating },
  }
}

function claimView(claim: Claim, names: Names) {
  const { id, op, value, unit, window, evidence } = claim
  const device = claim.device === null ? null : (names.devices[claim.device]?.device ?? null)
  const metric = claim.metric === null ? null : (names.metrics[claim.metric]?.metric ?? null)
  return { id, op, says: CLAIM_OPS[op].says, figure: figureText(claim, names), value, unit, device, metric, window, evidence }
}

/** The digest in short, for whoever watches the conversation. */
export function digestNoticeOf({ incident, revision, publishedAt, summary, rating }: SummaryDocument): DigestNotice {
  const { headline, level, label } = summary
  return { incident, revision, publishedAt, headline, level, label, author: namedAuthor(summary.author), rating }
}
