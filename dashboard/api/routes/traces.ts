import { Type } from 'typebox'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'
import { followTrace } from '../trace/follow-trace.ts'
import { TraceSchema } from '../trace/trace.ts'

/** The chain from raw readings to what people were told, by the id of anything on it. */
export function traceRoutes(api: Api, context: RouteContext): void {
  const params = Type.Object({
    id: Type.String({
      ...{ minLength: 1, maxLength: 200 },
      description: 'of an alert, incident, conversation, message, evidence or anomaly; of a reading DEVICE@TS, event time in epoch ms',
    }),
  })
  const summary = 'From raw readings to what people were told: everything about one incident, by the id of anything on the way'
  api.get(
    '/traces/:id',
    { schema: { summary, tags: ['incidents'], params, response: { 200: TraceSchema, ...problemResponses() } } },
    (request) => followTrace(context, context.allow(request, 'read', 'alerts'), request.params.id),
  )
}
