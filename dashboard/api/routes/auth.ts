import { Type } from 'typebox'
import type { Api, RouteContext } from '../context.ts'
import type { Principals, TokenPair } from '../principals.ts'
import { problemResponses } from '../problem.ts'
import { actOf } from './session.ts'

const tags = ['auth']
const SecretSchema = Type.String({ minLength: 1, maxLength: 1_024 })
const PairSchema = Type.Object({
  accessToken: Type.String({ description: 'a JWT: send it as "Authorization: Bearer TOKEN"' }),
  tokenType: Type.Literal('Bearer'),
  expiresAt: Type.Integer({ description: 'of the access token, epoch ms' }),
  refreshToken: Type.Union([Type.String(), Type.Null()], { description: 'good for one use; a second use ends the session' }),
  sessionExpiresAt: Type.Integer({ description: 'epoch ms: then one logs in anew' }),
})

/** Short-lived access tokens, and refresh tokens that change with every use. */
export function authRoutes(api: Api, context: RouteContext, principals: Principals): void {
  api.post(
    '/auth/token',
    {
      schema: {
        summary: 'Exchange the admin token or an API key for an access token and a refresh token',
        tags,
        security: [],
        body: Type.Object({ token: SecretSchema }, { additionalProperties: false }),
        response: { 200: PairSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { principal, ...pair } = await principals.exchange(request.body.token, request.ip)
      context.tell(request, { action: 'auth.token', ...actOf(principal) })
      return reply.header('cache-control', 'no-store').send(answerOf(pair))
    },
  )
  api.post(
    '/auth/refresh',
    {
      schema: {
        summary: 'The next access and refresh token for a refresh token, which is spent by it',
        tags,
        security: [],
        body: Type.Object({ refreshToken: SecretSchema }, { additionalProperties: false }),
        response: { 200: PairSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { principal, ...pair } = await principals.refresh(request.body.refreshToken, request.ip)
      context.tell(request, { action: 'auth.refresh', ...actOf(principal) })
      return reply.header('cache-control', 'no-store').send(answerOf(pair))
    },
  )
  api.post(
    '/auth/revoke',
    {
      schema: {
        summary:
          'End the session of a refresh token, or of the access token that is sent along: at once, in every process. Of another one nothing is told',
        tags,
        security: [],
        body: Type.Optional(
          Type.Union([Type.Null(), Type.Object({ refreshToken: Type.Optional(SecretSchema) }, { additionalProperties: false })]),
        ),
        response: { 204: Type.Null(), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const bearer = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
      const principal = await principals.revoke(request.body?.refreshToken, bearer)
      context.tell(request, { action: 'auth.revoke', ...(principal === undefined ? {} : actOf(principal)) })
      return reply.code(204).send(null)
    },
  )
}

function answerOf({ accessToken, expiresAt, refreshToken, sessionExpiresAt }: TokenPair) {
  return { accessToken, tokenType: 'Bearer' as const, expiresAt, refreshToken, sessionExpiresAt }
}
