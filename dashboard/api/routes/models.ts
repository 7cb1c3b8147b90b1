import { Type } from 'typebox'
import { modelNameOf } from '../../../anomaly/models/model-desk.ts'
import { DEVICE_ID_PATTERN } from '../../../contracts/device.ts'
import { ModelCardSchema, type ModelCard } from '../../../contracts/model.ts'
import type { Api, RouteContext } from '../context.ts'
import { CursorSchema, decodeCursor, encodeCursor, LimitSchema, listOf } from '../lists.ts'
import { problemResponses } from '../problem.ts'

const tags = ['models']
const IdSchema = Type.Object({ id: Type.String({ minLength: 3, maxLength: 80, description: 'TYPE@VERSION' }) })
const TypeSchema = Type.String({ pattern: DEVICE_ID_PATTERN, description: 'device type' })

/** The models that judge a device's metrics together: their cards, and what may be done with them. */
export function modelRoutes(api: Api, context: RouteContext): void {
  cardRoutes(api, context)
  fileRoute(api, context)
  trainingRoute(api, context)
  actRoutes(api, context)
}

function cardRoutes(api: Api, context: RouteContext): void {
  api.get(
    '/models',
    {
      schema: {
        summary: 'Model cards by device type, newest version first',
        tags,
        querystring: Type.Object({ type: Type.Optional(TypeSchema), limit: LimitSchema, cursor: CursorSchema }),
        response: { 200: listOf(ModelCardSchema), ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'models')
      const { type, cursor, limit } = request.query
      const { items, more } = await context.models.list({
        tenant,
        limit: context.pageSize(limit),
        ...(type === undefined ? {} : { type }),
        ...(cursor === undefined ? {} : { after: decodeCursor(cursor, isPlace) }),
      })
      const last = items.at(-1)
      return { items, next: more && last !== undefined ? encodeCursor({ type: last.type, version: last.version }) : null }
    },
  )
  api.get(
    '/models/:id',
    {
      schema: {
        summary: 'One model card: data, figures, threshold, drift, age, who promoted it',
        tags,
        params: IdSchema,
        response: { 200: ModelCardSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant } = context.allow(request, 'read', 'models', request.params.id)
      return context.models.get(modelNameOf(tenant, request.params.id))
    },
  )
}

function fileRoute(api: Api, context: RouteContext): void {
  api.get(
    '/models/:id/file',
    {
      schema: {
        summary: 'The signed file of a model: manifest, weights, windows of normal readings. Keys: /.well-known/jwks.json',
        tags,
        params: IdSchema,
        response: problemResponses(),
      },
    },
    async (request, reply) => {
      const { tenant } = context.allow(request, 'read', 'models', request.params.id)
      const bytes = await context.models.file(modelNameOf(tenant, request.params.id))
      return reply.type('application/octet-stream').send(Buffer.from(bytes))
    },
  )
}

function trainingRoute(api: Api, context: RouteContext): void {
  api.post(
    '/models',
    {
      schema: {
        summary: "Train a new version on the type's normal readings; it is in shadow when it is done",
        tags,
        body: Type.Object(
          {
            type: TypeSchema,
            seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647, description: 'default: models.seed' })),
          },
          { additionalProperties: false },
        ),
        response: { 201: ModelCardSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { tenant, actor } = context.allow(request, 'write', 'models')
      const { type, seed } = request.body
      const card = await context.models.train(tenant, type, { by: actor, trigger: 'operator', ...(seed === undefined ? {} : { seed }) })
      context.tell(request, {
        action: 'model.train',
        subject: { kind: 'model', id: card.id },
        after: { state: card.state, seed: card.seed },
      })
      return reply.code(201).send(card)
    },
  )
}

/** What each act does, and its summary. */
const ACTS = {
  cancel: 'End a training after its present epoch',
  resume: 'Go on with a training that was cancelled or failed, from its last epoch',
  promote: 'It serves from now on; what served is one step away',
  rollback: 'The model that served before serves again',
  retire: 'It is used no more, and its file is removed',
} as const
type Act = keyof typeof ACTS

function actRoutes(api: Api, context: RouteContext): void {
  for (const act of Object.keys(ACTS) as Act[]) {
    api.post(
      `/models/:id/${act}`,
      { schema: { summary: ACTS[act], tags, params: IdSchema, response: { 200: ModelCardSchema, ...problemResponses() } } },
      async (request) => {
        const { tenant, actor } = context.allow(request, 'write', 'models', request.params.id)
        const name = modelNameOf(tenant, request.params.id)
        const before = await context.models.get(name)
        const after = await perform(context, act, name, actor)
        context.tell(request, {
          action: `model.${act}`,
          subject: { kind: 'model', id: before.id },
          before: stateOf(before),
          after: stateOf(after),
        })
        return after
      },
    )
  }
}

function perform({ models }: RouteContext, act: Act, name: ReturnType<typeof modelNameOf>, by: string): Promise<ModelCard> {
  switch (act) {
    case 'cancel':
      return models.cancel(name)
    case 'resume':
      return models.resume(name)
    case 'promote':
      return models.promote(name, by)
    case 'rollback':
      return models.rollBack(name)
    case 'retire':
      return models.retire(name)
  }
}

function stateOf({ id, state }: ModelCard): { id: string; state: string } {
  return { id, state }
}

function isPlace(value: unknown): value is { type: string; version: number } {
  const place = value as { type?: unknown; version?: unknown } | null
  return typeof place?.type === 'string' && typeof place.version === 'number'
}
