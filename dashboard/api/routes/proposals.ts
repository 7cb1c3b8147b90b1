import { Type } from 'typebox'
import { PROPOSAL_STATES, ProposalSchema, type ProposalState } from '../../../contracts/proposal.ts'
import { ConflictError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { LimitSchema, listOf } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const tags = ['proposals']
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const answers = { 200: ProposalSchema, ...problemResponses() }

/** What agents propose: people see what would change, and approve exactly that, or reject it. */
export function proposalRoutes(api: Api, context: RouteContext): void {
  const { proposals } = context
  const query = Type.Object({
    state: Type.Optional(Type.Unsafe<ProposalState>({ type: 'string', enum: [...PROPOSAL_STATES] })),
    incident: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
    limit: LimitSchema,
    cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: '`next` of the last page' })),
  })
  api.get(
    '/proposals',
    {
      schema: {
        summary: 'Proposals, newest first',
        tags,
        querystring: query,
        response: { 200: listOf(ProposalSchema), ...problemResponses() },
      },
    },
    (request) => {
      const { tenant } = context.allow(request, 'read', 'proposals')
      return proposals.list(tenant, { ...request.query, limit: context.pageSize(request.query.limit, proposals.pageItemsMax) })
    },
  )
  api.get(
    '/proposals/:id',
    { schema: { summary: 'One proposal, with what it would change now', tags, params: IdSchema, response: answers } },
    (request) => proposals.refresh(context.allow(request, 'read', 'proposals', request.params.id).tenant, request.params.id),
  )
  const approval = Type.Object(
    { diffHash: Type.String({ pattern: '^[0-9a-f]{64}$', description: '`diffHash` of the changes that whoever approves has seen' }) },
    { additionalProperties: false },
  )
  api.post(
    '/proposals/:id/approve',
    {
      schema: {
        summary: 'Have it done, once: refused where it would change anything else by now',
        tags,
        params: IdSchema,
        body: approval,
        response: answers,
      },
    },
    async (request) => {
      const principal = context.allow(request, 'write', 'proposals', request.params.id)
      try {
        return await proposals.approve(principal, request.params.id, request.body.diffHash)
      } catch (error) {
        if (error instanceof ConflictError && error.code === 'PROPOSAL_MOVED') await proposals.refresh(principal.tenant, request.params.id)
        throw error
      }
    },
  )
  const rejection = Type.Object({ reason: Type.String({ minLength: 1, maxLength: 500 }) }, { additionalProperties: false })
  api.post(
    '/proposals/:id/reject',
    { schema: { summary: 'Have it never done', tags, params: IdSchema, body: rejection, response: answers } },
    (request) => proposals.reject(context.allow(request, 'write', 'proposals', request.params.id), request.params.id, request.body.reason),
  )
}
