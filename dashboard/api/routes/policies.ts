import { Type } from 'typebox'
import { IMPACTS, PolicySchema, type Impact, type Policy } from '../../../anomaly/policies/policy.ts'
import type { PoliciesPut } from '../../../anomaly/policies/policy-desk.ts'
import type { Api, RouteContext } from '../context.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const tags = ['detectors']
/** Policies of a tenant: each new device and metric is held against all of them once. */
const POLICIES_MAX = 200
// Without a shape: a serializer would leave out what lies deeper than the schema of a route says.
const Policies = Type.Unsafe<Policy[]>({ type: 'array', items: { type: 'object', additionalProperties: true } })
const ViewSchema = Type.Object({
  policies: Policies,
  configured: Type.Unsafe<Policy[]>({ ...Policies, description: 'those of the configuration, which come after' }),
  defaults: Type.Object(
    {
      alertThreshold: Type.Number(),
      criticalThreshold: Type.Number(),
      impact: Type.Unsafe<Impact>({ type: 'string', enum: [...IMPACTS] }),
    },
    { description: 'what holds where no policy says otherwise' },
  ),
  updatedAt: Type.Union([Type.Integer(), Type.Null()]),
  updatedBy: Type.Union([Type.String(), Type.Null()]),
  version: Type.Integer({ description: '0 where none were ever put' }),
})
const BodySchema = Type.Object(
  { policies: Type.Array(PolicySchema, { maxItems: POLICIES_MAX, description: 'the first that names device and metric holds' }) },
  { additionalProperties: false },
)

/** From which novelty on something is an anomaly, and how grave it is: per type, metric, device and labels. One list. */
export function policyRoutes(api: Api, context: RouteContext): void {
  const { anomalyConfig, policies } = context
  const viewOf = (put: PoliciesPut) => {
    const { alertThreshold, criticalThreshold, impact } = anomalyConfig
    return { ...put, configured: anomalyConfig.policies, defaults: { alertThreshold, criticalThreshold, impact } }
  }
  api.get(
    '/detectors/policies',
    { schema: { summary: 'Thresholds and impact by type, metric, device and labels', tags, response: { 200: ViewSchema, ...problemResponses() } } },
    async (request, reply) => {
      const put = await policies.get(context.allow(request, 'read', 'anomalies').tenant)
      reply.header('etag', etagOf(put.version))
      return viewOf(put)
    },
  )
  api.put(
    '/detectors/policies',
    {
      schema: {
        summary: 'Replace them; they hold from the next readings on, and a replay meets each version where it was',
        tags,
        body: BodySchema,
        response: { 200: ViewSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'anomalies')
      const before = await policies.get(principal.tenant)
      const put = await policies.put(principal, request.body.policies, expectedVersion(request))
      context.tell(request, { subject: { kind: 'policies', id: principal.tenant }, before: before.policies, after: put.policies })
      reply.header('etag', etagOf(put.version))
      return viewOf(put)
    },
  )
}
