import { Type } from 'typebox'
import { EXPIRY_BUCKETS } from '../../../provisioning/rotation/expiry-forecast.ts'
import type { Api, RouteContext } from '../context.ts'
import { LimitSchema } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const ForecastSchema = Type.Object({
  at: Type.Integer({ description: 'epoch ms' }),
  counts: Type.Record(Type.String(), Type.Integer(), {
    description: `certificates by the time they have left: ${EXPIRY_BUCKETS.join(', ')}; each counts in the first one that it fits`,
  }),
  due: Type.Integer({ description: 'told to renew, and not late yet' }),
  late: Type.Integer({ description: 'not renewed in time: operators were alerted' }),
  soonest: Type.Array(
    Type.Object({
      device: Type.String(),
      serial: Type.String(),
      notAfter: Type.Integer(),
      stage: Type.String({ description: 'new, watched, due, late or ended' }),
      renewAt: Type.Integer(),
      lateAt: Type.Integer(),
    }),
    { description: 'those that end first' },
  ),
})

export function certificateForecastRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/certificates/forecast',
    {
      schema: {
        summary: 'How many device certificates end when; those that were renewed or revoked do not count',
        tags: ['certificates'],
        querystring: Type.Object({ limit: LimitSchema }),
        response: { 200: ForecastSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'certificates')
      return context.expiryForecast.of(tenant, context.pageSize(request.query.limit))
    },
  )
}
