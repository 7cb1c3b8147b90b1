import { Type } from 'typebox'
import { actorOf, type Principal } from '../../../contracts/authorisation.ts'
import type { ActDetails, Api, RouteContext } from '../context.ts'
import { SESSION_COOKIE, type Principals } from '../principals.ts'
import { problemResponses } from '../problem.ts'

export const WhoSchema = Type.Object({
  id: Type.String(),
  kind: Type.String({ description: 'user, api-key or agent' }),
  tenant: Type.String(),
  roles: Type.Array(Type.String()),
  scopes: Type.Union([Type.Array(Type.String()), Type.Null()], { description: 'what an API key is narrowed to' }),
})

export function whoOf({ id, kind, tenant, roles, scopes }: Principal) {
  return { id, kind, tenant, roles: [...roles], scopes: scopes === undefined ? null : [...scopes] }
}

/** What the trail is told of somebody who proves who it is by the request itself. */
export function actOf(principal: Principal): Pick<ActDetails, 'actor' | 'tenant' | 'subject'> {
  const { kind, id, tenant } = principal
  return { actor: actorOf(principal), tenant, subject: { kind, id } }
}

/** Logging a browser in and out: the token is exchanged for a cookie that scripts cannot read. */
export function sessionRoutes(api: Api, context: RouteContext, principals: Principals): void {
  const attributes = 'Path=/; HttpOnly; SameSite=Strict'
  api.post(
    '/session',
    {
      schema: {
        summary: 'Log in with the admin token or an API key',
        tags: ['session'],
        security: [],
        body: Type.Object({ token: Type.String({ minLength: 1, maxLength: 1_024 }) }, { additionalProperties: false }),
        response: { 200: WhoSchema, ...problemResponses() },
      },
    },
    async (request, reply) => {
      const { principal, cookie } = await principals.logIn(request.body.token, request.ip)
      context.tell(request, { action: 'session.open', ...actOf(principal) })
      const secure = request.protocol === 'https' ? '; Secure' : ''
      const maxAge = Math.floor(context.config.sessionLifetimeMs / 1_000)
      reply.header('set-cookie', `${SESSION_COOKIE}=${cookie}; ${attributes}; Max-Age=${maxAge}${secure}`)
      return whoOf(principal)
    },
  )
  api.get(
    '/session',
    { schema: { summary: 'Who am I', tags: ['session'], response: { 200: WhoSchema, ...problemResponses() } } },
    (request) => Promise.resolve(whoOf(context.allow(request, 'read', 'session'))),
  )
  api.delete(
    '/session',
    {
      schema: {
        summary: 'Log out; without a session nothing happens',
        tags: ['session'],
        security: [],
        response: { 204: Type.Null(), ...problemResponses() },
      },
    },
    async (request, reply) => {
      const principal = await principals.logOut(request)
      context.tell(request, { action: 'session.close', ...(principal === undefined ? {} : actOf(principal)) })
      return reply.code(204).header('set-cookie', `${SESSION_COOKIE}=; ${attributes}; Max-Age=0`).send(null)
    },
  )
}
