import { Type } from 'typebox'
import { AlertmanagerSchema } from '../../../alerts/external/alertmanager.ts'
import { CloudEventSchema } from '../../../alerts/external/cloud-event.ts'
import type { ExternalResult } from '../../../alerts/external/external-alerts.ts'
import { InvalidInputError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'

const CLOUD_EVENT = 'application/cloudevents+json'

const ResultSchema = Type.Object({
  status: Type.Union([Type.Literal('accepted'), Type.Literal('refused')]),
  phase: Type.Optional(Type.Union([Type.Literal('raised'), Type.Literal('cleared')])),
  anomaly: Type.Optional(Type.String({ description: 'its id; the same whenever the same is told again' })),
  device: Type.Optional(Type.Union([Type.String(), Type.Null()], { description: 'null: the registry knows no such device, or none was named' })),
  problem: Type.Optional(Type.String({ description: 'of a refused one: which rule it broke' })),
})
const Count = Type.Integer({ minimum: 0 })
const AnswerSchema = Type.Object({
  accepted: Count,
  refused: Count,
  leftOut: Type.Integer({ minimum: 0, description: 'alerts that the sender says it left out' }),
  results: Type.Array(ResultSchema, { description: 'one for each alert, in their order' }),
})

/** Media types of its own: nothing else of the API reads CloudEvents, and this route reads no plain text. */
export function externalAlertRoutes(api: Api, context: RouteContext): void {
  void api.register(async (scope) => externalAlertRoute(scope as Api, context))
}

function externalAlertRoute(api: Api, context: RouteContext): void {
  api.removeContentTypeParser('text/plain')
  api.addContentTypeParser(CLOUD_EVENT, { parseAs: 'string' }, api.getDefaultJsonParser('error', 'error'))
  api.post(
    '/external-alerts',
    {
      schema: {
        summary: 'Take alerts of another system: they become alerts of cause `external`. Answered when they are durable; the same again changes nothing',
        tags: ['alerts'],
        body: { content: { 'application/json': { schema: AlertmanagerSchema }, [CLOUD_EVENT]: { schema: CloudEventSchema } } },
        response: { 202: AnswerSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'external-alerts')
      const isCloudEvent = request.headers['content-type']?.toLowerCase().startsWith(CLOUD_EVENT) === true
      const { alerts = [], truncatedAlerts = 0 } = isCloudEvent ? {} : (request.body as { alerts: unknown[]; truncatedAlerts?: number })
      const results = isCloudEvent
        ? await context.externalAlerts.cloudEvent(principal, request.body, request.id)
        : await context.externalAlerts.alertmanager(principal, alerts, request.id)
      const accepted = results.filter(({ status }) => status === 'accepted').length
      const counts = { accepted, refused: results.length - accepted, leftOut: truncatedAlerts }
      context.tell(request, { action: 'external-alert.take', subject: { kind: 'external-alerts', id: isCloudEvent ? 'cloud-event' : 'alertmanager' }, after: counts })
      if (accepted === 0) throw nothingTaken(results, isCloudEvent)
      return reply.code(202).send({ ...counts, results })
    },
  )
}

/** Nothing is durable: that is no 202, and a sender that looks at nothing else sees it. */
function nothingTaken(results: readonly ExternalResult[], isCloudEvent: boolean): InvalidInputError {
  const [first] = results
  const problem = first?.status === 'refused' ? first.problem : 'nothing was said'
  const field = isCloudEvent ? 'data' : 'alerts.0'
  return new InvalidInputError(`none of ${results.length} could be taken; the first: ${problem}`, { details: { field } })
}
