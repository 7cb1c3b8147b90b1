import { Type } from 'typebox'
import { RuleSettingsSchema } from '../../../processing/rules/rule.ts'
import type { RuleView } from '../../../processing/rules/rules-service.ts'
import type { Api, RouteContext } from '../context.ts'
import { listOf } from '../lists.ts'
import { etagOf, expectedVersion } from '../preconditions.ts'
import { problemResponses } from '../problem.ts'
import { CHANGES_NOTHING } from '../request-audit.ts'

const tags = ['rules']
const DAY_MS = 86_400_000
const IdSchema = Type.Object({ id: Type.String({ minLength: 1, maxLength: 64 }) })
const ViewSchema = Type.Object({
  id: Type.String(),
  ...RuleSettingsSchema.properties,
  ruleVersion: Type.Integer({ description: 'of what it says: alerts name it' }),
  activeFrom: Type.Integer({ description: 'it judges readings received from then on, epoch ms' }),
  createdBy: Type.String(),
  createdAt: Type.Integer(),
  updatedBy: Type.String(),
  updatedAt: Type.Integer(),
  version: Type.Integer(),
})
const PreviewSchema = Type.Object({
  fromTs: Type.Integer(),
  toTs: Type.Integer(),
  devices: Type.Integer({ description: 'looked at' }),
  readings: Type.Integer({ description: 'looked at' }),
  truncated: Type.Boolean({ description: 'not all devices or readings were looked at' }),
  count: Type.Integer({ description: 'how often it would have been broken' }),
  devicesFired: Type.Integer({ description: 'on how many devices' }),
  fired: Type.Array(Type.Object({ device: Type.String(), at: Type.Integer(), until: Type.Union([Type.Integer(), Type.Null()]), text: Type.String() }), { description: 'the first hundred' }),
})

/** Threshold rules on readings and windows: a broken one opens an alert of cause `rule`. */
export function ruleRoutes(api: Api, context: RouteContext): void {
  const answers = { 200: ViewSchema, ...problemResponses() }
  const { rules } = context
  api.get('/rules', { schema: { summary: 'Rules, newest first', tags, response: { 200: listOf(ViewSchema), ...problemResponses() } } }, async (request) => {
    return { items: await rules.list(context.allow(request, 'read', 'rules')), next: null }
  })
  api.post('/rules', { schema: { summary: 'Add a rule; one that cannot be is refused with every fault and its path', tags, body: RuleSettingsSchema, response: { 201: ViewSchema, ...problemResponses() } } }, async (request, reply) => {
    const rule = await rules.create(context.allow(request, 'write', 'rules'), request.body)
    context.tell(request, { subject: { kind: 'rule', id: rule.id }, after: settingsOf(rule) })
    return reply.code(201).header('location', `/api/v1/rules/${rule.id}`).header('etag', etagOf(rule.version)).send(rule)
  })
  api.get('/rules/:id', { schema: { summary: 'One rule', tags, params: IdSchema, response: answers } }, async (request, reply) => {
    const rule = await rules.get(context.allow(request, 'read', 'rules'), request.params.id)
    reply.header('etag', etagOf(rule.version))
    return rule
  })
  api.put('/rules/:id', { schema: { summary: 'Replace what a rule says', tags, params: IdSchema, body: RuleSettingsSchema, response: answers } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'rules', request.params.id)
    const before = await rules.get(principal, request.params.id)
    const rule = await rules.replace(principal, request.params.id, request.body, expectedVersion(request))
    context.tell(request, { before: settingsOf(before), after: settingsOf(rule) })
    reply.header('etag', etagOf(rule.version))
    return rule
  })
  api.delete('/rules/:id', { schema: { summary: 'Remove a rule; alerts that it opened are cleared', tags, params: IdSchema, response: { 204: Type.Null(), ...problemResponses() } } }, async (request, reply) => {
    const principal = context.allow(request, 'write', 'rules', request.params.id)
    const before = await rules.get(principal, request.params.id)
    await rules.remove(principal, request.params.id, expectedVersion(request))
    context.tell(request, { before: settingsOf(before) })
    return reply.code(204).send(null)
  })
  api.post(
    '/rules/preview',
    {
      schema: {
        summary: 'How often a rule would have been broken by stored readings; changes nothing',
        [CHANGES_NOTHING]: true,
        tags,
        body: Type.Object(
          {
            rule: RuleSettingsSchema,
            from: Type.Optional(Type.Integer({ description: 'event time, epoch ms; a day before `to`' })),
            to: Type.Optional(Type.Integer({ description: 'event time, epoch ms; now' })),
          },
          { additionalProperties: false },
        ),
        response: { 200: PreviewSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const principal = context.allow(request, 'read', 'rules')
      const toTs = request.body.to ?? context.clock.nowMs()
      return context.rulePreview.run(principal, request.body.rule, { fromTs: request.body.from ?? toTs - DAY_MS, toTs })
    },
  )
}

function settingsOf({ id: _id, ruleVersion: _number, activeFrom: _from, createdBy: _by, createdAt: _at, updatedBy: _who, updatedAt: _when, version: _version, ...settings }: RuleView) {
  return settings
}
