import { Type, type TSchema } from 'typebox'
import { AlertSchema, AlertStateSchema, SeveritySchema, type Severity } from '../../../contracts/alert.ts'
import type { AlertAction } from '../../../alerts/alert-actions.ts'
import type { AlertCommand, AlertView, BulkAction } from '../../../alerts/alert-service.ts'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, LimitSchema, listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'

const ViewSchema = Type.Intersect([AlertSchema, Type.Object({ version: Type.Integer() })])
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const NoteSchema = Type.Optional(Type.String({ maxLength: 2_000 }))
const CommandBody = Type.Optional(Type.Union([Type.Null(), Type.Object({ note: NoteSchema }, { additionalProperties: false })]))
const UntilBody = Type.Object({ until: Type.Integer({ description: 'epoch ms' }), note: NoteSchema }, { additionalProperties: false })
const BulkResultSchema = Type.Union([
  Type.Object({ id: Type.String(), status: Type.Literal('done'), state: AlertStateSchema, version: Type.Integer() }),
  Type.Object({ id: Type.String(), status: Type.Literal('refused'), code: Type.String(), problem: Type.String() }),
])

/** What comes with a step. */
interface StepBody {
  note?: string
  until?: number
  assignee?: string | null
  severity?: Severity
}
/** What people do to one alert, by the last word of the path. */
const STEPS: Readonly<Record<string, { action: AlertAction; summary: string; body: TSchema }>> = {
  ack: { action: 'acknowledge', summary: 'Acknowledge: somebody looks after it', body: CommandBody },
  resolve: { action: 'resolve', summary: 'Resolve: it is over', body: CommandBody },
  reopen: { action: 'reopen', summary: 'Reopen: it was resolved too early; not once the same cause has opened another', body: CommandBody },
  silence: { action: 'silence', summary: 'No notices until a time', body: UntilBody },
  snooze: { action: 'snooze', summary: 'No notices until a time; not resolved by then, it is open again and told anew', body: UntilBody },
  suppress: { action: 'suppress', summary: 'No notices until it is restored', body: CommandBody },
  restore: { action: 'restore', summary: 'End a silence, a snooze or a suppression', body: CommandBody },
  assign: { action: 'assign', summary: 'Who looks after it; null: nobody', body: Type.Object({ assignee: Type.Union([Type.String({ minLength: 1, maxLength: 128 }), Type.Null()]), note: NoteSchema }, { additionalProperties: false }) },
  comment: { action: 'comment', summary: 'Leave a note in its history', body: Type.Object({ note: Type.String({ minLength: 1, maxLength: 2_000 }) }, { additionalProperties: false }) },
  severity: { action: 'set-severity', summary: 'Another severity, which anomalies do not change any more', body: Type.Object({ severity: SeveritySchema, note: NoteSchema }, { additionalProperties: false }) },
}

export function alertRoutes(api: Api, context: RouteContext): void {
  const answers = { 200: ViewSchema, ...problemResponses() }
  const tags = ['alerts']
  api.get(
    '/alerts',
    {
      schema: {
        summary: 'Alerts, newest first',
        tags,
        querystring: Type.Object({
          state: Type.Optional(AlertStateSchema),
          device: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          severity: Type.Optional(SeveritySchema),
          incident: Type.Optional(Type.String({ minLength: 1, maxLength: 64 })),
          assignee: Type.Optional(Type.String({ minLength: 1, maxLength: 128 })),
          limit: LimitSchema,
          cursor: CursorSchema,
        }),
        response: { 200: listOf(ViewSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'alerts')
      return context.alerts.list(principal, { ...request.query, limit: context.pageSize(request.query.limit, context.alerts.pageItemsMax) })
    },
  )
  api.get('/alerts/:id', { schema: { summary: 'One alert with its history', tags, params: IdSchema, response: answers } }, async (request, reply) => {
    const principal = context.allow(request, 'read', 'alerts', request.params.id)
    return answer(reply, await context.alerts.get(principal, request.params.id))
  })
  for (const [path, { action, summary, body }] of Object.entries(STEPS)) {
    api.post(`/alerts/:id/${path}`, { schema: { summary, tags, params: IdSchema, body, response: answers } }, async (request, reply) => {
      const { id } = request.params
      const principal = context.allow(request, 'write', 'alerts', id)
      const { until, note, ...on } = (request.body ?? {}) as StepBody
      const command = { ...commandOf(request, id, note), ...on, ...(until === undefined ? {} : { untilMs: until }) }
      return answer(reply, await told(context, request, command, () => context.alerts.act(principal, action, command)))
    })
  }
  bulkRoute(api, context)
}

function bulkRoute(api: Api, context: RouteContext): void {
  api.post(
    '/alerts/bulk',
    {
      schema: {
        summary: 'The same for many alerts, each by itself: what one refuses stops no other',
        tags: ['alerts'],
        body: Type.Object(
          { action: Type.Unsafe<BulkAction>({ type: 'string', enum: ['acknowledge', 'resolve', 'suppress', 'restore', 'comment'] }), ids: Type.Array(IdSchema.properties.id, { minItems: 1, maxItems: 10_000 }), note: NoteSchema },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ items: Type.Array(BulkResultSchema) }), ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'write', 'alerts')
      const { action, ids, note } = request.body
      const items = await context.alerts.actOnMany(principal, action, { ids, note })
      const done = items.filter(({ status }) => status === 'done').length
      context.tell(request, { subject: { kind: 'alert', id: 'many' }, after: { action, done, refused: items.length - done }, ...(note === undefined ? {} : { why: note }) })
      return { items }
    },
  )
}

/** Does it, and leaves for the audit trail what became of the alert. */
async function told(context: RouteContext, request: FastifyRequest, { id, note }: AlertCommand, act: () => Promise<AlertView>): Promise<AlertView> {
  const before = stateOf(await context.alerts.get(context.allow(request, 'write', 'alerts', id), id))
  const view = await act()
  context.tell(request, { device: view.device, before, after: stateOf(view), ...(note === undefined ? {} : { why: note }) })
  return view
}

function stateOf({ state, severity, assignee, silencedUntil, snoozedUntil, suppressedBy }: AlertView) {
  return { state, severity, assignee, silencedUntil, snoozedUntil, suppressedBy }
}

function commandOf(request: FastifyRequest, id: string, note: string | undefined): AlertCommand {
  const version = expectedVersion(request)
  return { id, ...(note === undefined ? {} : { note }), ...(version === undefined ? {} : { expectedVersion: version }) }
}

function answer(reply: FastifyReply, view: AlertView): AlertView {
  reply.header('etag', etagOf(view.version))
  return view
}
