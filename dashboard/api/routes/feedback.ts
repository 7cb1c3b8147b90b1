import { Type } from 'typebox'
import {
  FEEDBACK_STATES,
  FeedbackSchema,
  FeedbackScopeSchema,
  VERDICTS,
  type FeedbackState,
  type Verdict,
} from '../../../contracts/feedback.ts'
import { InvalidInputError } from '../../../kernel/errors.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf, parseTime } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const tags = ['feedback']
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 400 }) })
const VerdictSchema = Type.Unsafe<Verdict>({
  type: 'string',
  enum: [...VERDICTS],
  description: '`confirmed`: it was abnormal, its like comes sooner; `rejected`: it was normal, its like stays quiet',
})
const Words = { cause: Type.Optional(Type.String({ maxLength: 200 })), note: Type.Optional(Type.String({ maxLength: 2_000 })) }
const JudgementSchema = Type.Object(
  { verdict: VerdictSchema, ...Words, scope: Type.Optional(FeedbackScopeSchema) },
  { additionalProperties: false },
)
const InstantSchema = Type.Union([Type.Integer(), Type.String({ minLength: 1, maxLength: 40 })], { description: 'epoch ms or RFC 3339' })
const RangeSchema = Type.Object(
  {
    device: Type.String({ minLength: 1, maxLength: 64 }),
    metric: Type.Optional(Type.String({ maxLength: 512, description: 'left out: the whole device' })),
    from: InstantSchema,
    to: InstantSchema,
    verdict: VerdictSchema,
    ...Words,
  },
  { additionalProperties: false },
)

/** What people say of anomalies and of ranges of readings, and what detectors make of it. */
export function feedbackRoutes(api: Api, context: RouteContext): void {
  const made = { 201: FeedbackSchema, ...problemResponses() }
  api.post(
    '/anomalies/:id/feedback',
    {
      schema: {
        summary: 'Confirm or reject an anomaly; nothing changes for detectors until it is applied',
        tags,
        params: IdSchema,
        body: JudgementSchema,
        response: made,
      },
    },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'anomalies', request.params.id)
      const feedback = await context.feedback.judge(principal, request.params.id, request.body)
      context.tell(request, { device: feedback.device, after: { feedback: feedback.id, verdict: feedback.verdict } })
      return reply.code(201).header('location', `/api/v1/feedback/${feedback.id}`).send(feedback)
    },
  )
  api.post(
    '/feedback',
    { schema: { summary: 'Label a range of readings', tags, body: RangeSchema, response: made } },
    async (request, reply) => {
      const principal = context.allow(request, 'write', 'anomalies')
      const { from, to, metric = '', ...range } = request.body
      const feedback = await context.feedback.label(principal, {
        ...range,
        metric,
        fromTs: instantOf('from', from),
        toTs: instantOf('to', to),
      })
      context.tell(request, {
        subject: { kind: 'feedback', id: feedback.id },
        device: feedback.device,
        after: { verdict: feedback.verdict },
      })
      return reply.code(201).header('location', `/api/v1/feedback/${feedback.id}`).send(feedback)
    },
  )
  listRoutes(api, context)
  stepRoutes(api, context)
}

/** From a judgement to what detectors do. */
function stepRoutes(api: Api, context: RouteContext): void {
  const answers = { 200: FeedbackSchema, ...problemResponses() }
  api.post(
    '/feedback/:id/preview',
    {
      schema: {
        summary: 'Replay stored readings with and without it; progress and result are in `preview`',
        tags,
        params: IdSchema,
        response: { 202: FeedbackSchema, ...problemResponses() },
      },
    },
    async (request, reply) =>
      reply
        .code(202)
        .send(await context.feedback.preview(context.allow(request, 'write', 'anomalies', request.params.id), request.params.id)),
  )
  api.post(
    '/feedback/:id/apply',
    { schema: { summary: 'Detectors go by it from their next readings on', tags, params: IdSchema, response: answers } },
    async (request) => {
      const feedback = await context.feedback.apply(context.allow(request, 'write', 'anomalies', request.params.id), request.params.id)
      context.tell(request, { device: feedback.device, after: { change: feedback.change } })
      return feedback
    },
  )
  api.post(
    '/feedback/:id/undo',
    { schema: { summary: 'Detectors no longer go by it; it stays a label', tags, params: IdSchema, response: answers } },
    async (request) => {
      const feedback = await context.feedback.undo(context.allow(request, 'write', 'anomalies', request.params.id), request.params.id)
      context.tell(request, { device: feedback.device, after: { change: feedback.change } })
      return feedback
    },
  )
  api.post(
    '/feedback/:id/withdraw',
    { schema: { summary: 'It counts for nothing any more', tags, params: IdSchema, response: answers } },
    async (request) => {
      const feedback = await context.feedback.withdraw(context.allow(request, 'write', 'anomalies', request.params.id), request.params.id)
      context.tell(request, { device: feedback.device })
      return feedback
    },
  )
}

function listRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/feedback',
    {
      schema: {
        summary: 'Feedback, newest first',
        tags,
        querystring: Type.Object({
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          state: Type.Optional(Type.Unsafe<FeedbackState>({ type: 'string', enum: [...FEEDBACK_STATES] })),
          anomaly: Type.Optional(Type.String({ minLength: 1, maxLength: 400 })),
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(FeedbackSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'anomalies')
      const { device, state, anomaly, cursor } = request.query
      const { items, more } = await context.feedback.list({
        tenant,
        limit: context.pageSize(request.query.limit),
        ...(device === undefined ? {} : { device }),
        ...(state === undefined ? {} : { state }),
        ...(anomaly === undefined ? {} : { anomaly }),
        ...(cursor === undefined ? {} : { after: decodeCursor(cursor, isPlace).id }),
      })
      const last = items.at(-1)
      return { items, next: more && last !== undefined ? encodeCursor({ id: last.id }) : null }
    },
  )
  api.get(
    '/feedback/:id',
    { schema: { summary: 'One piece of feedback', tags, params: IdSchema, response: { 200: FeedbackSchema, ...problemResponses() } } },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'anomalies', request.params.id)
      return context.feedback.get(tenant, request.params.id)
    },
  )
}

function instantOf(field: string, at: number | string): number {
  const ms = typeof at === 'number' ? at : parseTime(field, at)
  if (ms === undefined) throw new InvalidInputError(`${field}: a time is missing`, { details: { field } })
  return ms
}

function isPlace(value: unknown): value is { id: string } {
  return typeof (value as { id?: unknown } | null)?.id === 'string'
}
