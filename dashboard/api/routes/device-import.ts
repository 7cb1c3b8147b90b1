import type { FastifySchemaCompiler } from 'fastify'
import { Type, type TSchema } from 'typebox'
import { DeviceStateSchema } from '../../../contracts/device.ts'
import type { ImportOutcome, RowOutcome } from '../../../device-registry/import/device-import.ts'
import type { Api, RouteContext } from '../context.ts'
import { problemResponses } from '../problem.ts'
import { validatorCompiler } from '../validation.ts'

const RowSchema = Type.Object({
  line: Type.Integer({ description: 'in the file' }),
  id: Type.String(),
  status: Type.Union([Type.Literal('created'), Type.Literal('changed'), Type.Literal('unchanged'), Type.Literal('failed')]),
  state: Type.Optional(DeviceStateSchema),
  field: Type.Optional(Type.String({ description: 'of a failed row: the column' })),
  problem: Type.Optional(Type.String({ description: 'of a failed row: which rule it broke' })),
  token: Type.Optional(Type.String({ description: 'of a created device, where tokens were asked for' })),
  tokenExpiresAt: Type.Optional(Type.Integer({ description: 'epoch ms' })),
})
const Count = Type.Integer({ minimum: 0 })
const OutcomeSchema = Type.Object({
  dryRun: Type.Boolean(),
  summary: Type.Object({ created: Count, changed: Count, unchanged: Count, failed: Count }),
  rows: Type.Array(RowSchema),
})

/** Tokens made at once. */
const TOKENS_AT_ONCE = 32

type AnswerRow = RowOutcome & { token?: string; tokenExpiresAt?: number }

/** The file comes as it is and is read as it comes: it is not a body that the other routes would know. */
export function deviceImportRoutes(api: Api, context: RouteContext): void {
  void api.register(async (scope) => importRoute(scope as Api, context))
}

function importRoute(api: Api, context: RouteContext): void {
  api.removeContentTypeParser('application/json')
  api.addContentTypeParser('text/csv', (_request, payload, done) => done(null, payload))
  api.post(
    '/devices/import',
    {
      validatorCompiler: bodyAsItComes(),
      schema: {
        summary: 'Register devices from a CSV file (columns id, type, and one per label); the same file again changes nothing',
        tags: ['provisioning'],
        consumes: ['text/csv'],
        querystring: Type.Object(
          {
            dryRun: Type.Optional(Type.Boolean({ description: 'say what would happen, and change nothing' })),
            tokens: Type.Optional(Type.Boolean({ description: 'make an enrolment token for each created device' })),
          },
          { additionalProperties: false },
        ),
        body: Type.String({ description: 'RFC 4180, UTF-8, with a header line' }),
        response: { 200: OutcomeSchema, ...problemResponses() },
      },
    },
    async (request) => {
      const { tenant, actor } = context.allow(request, 'write', 'devices')
      const { dryRun = false, tokens = false } = request.query
      if (tokens) context.allow(request, 'enrol', 'enrolment-tokens')
      const by = actor
      const outcome = await context.deviceImport.run(request.body as unknown as AsyncIterable<Uint8Array>, { tenant, dryRun, by })
      // Devices leave entries of their own; this one says that they came by a file.
      const action = dryRun ? 'import.check' : 'import.run'
      context.tell(request, { action, subject: { kind: 'import', id: action }, after: { ...outcome.summary, tokens } })
      return tokens && !dryRun ? withTokens(outcome, (deviceId) => context.enrolmentTokens.create({ tenant, deviceId, by })) : outcome
    },
  )
}

/** The stream is checked by whoever reads it. */
function bodyAsItComes(): FastifySchemaCompiler<TSchema> {
  const compile = validatorCompiler()
  return (route) => (route.httpPart === 'body' ? () => true : compile(route))
}

async function withTokens(
  outcome: ImportOutcome,
  tokenFor: (device: string) => Promise<{ token: string; expiresAt: number }>,
): Promise<Omit<ImportOutcome, 'rows'> & { rows: AnswerRow[] }> {
  const rows: AnswerRow[] = [...outcome.rows]
  const queue = outcome.rows.entries()
  const worker = async (): Promise<void> => {
    for (const [i, row] of queue) {
      if (row.status !== 'created') continue
      const { token, expiresAt } = await tokenFor(row.id)
      rows[i] = { ...row, token, tokenExpiresAt: expiresAt }
    }
  }
  await Promise.all(Array.from({ length: TOKENS_AT_ONCE }, worker))
  return { ...outcome, rows }
}
