import { Type } from 'typebox'
import type { Api, RouteContext } from '../context.ts'
import { SESSION_COOKIE, type Principals } from '../principals.ts'
import { problemResponses } from '../problem.ts'

const WhoSchema = Type.Object({ id: Type.String(), tenant: Type.String(), roles: Type.Array(Type.String()) })

/** Logging a browser in and out: the token is exchanged for a cookie that scripts cannot read. */
export function sessionRoutes(api: Api, context: RouteContext, principals: Principals): void {
  const attributes = 'Path=/; HttpOnly; SameSite=Strict'
  api.post(
    '/session',
    { schema: { summary: 'Log in with a token', tags: ['session'], security: [], body: Type.Object({ token: Type.String({ minLength: 1, maxLength: 1_024 }) }, { additionalProperties: false }), response: { 200: WhoSchema, ...problemResponses() } } },
    async (request, reply) => {
      const principal = principals.ofToken(request.body.token, request.ip)
      context.tell(request, { action: 'session.open', actor: `user:${principal.id}`, tenant: principal.tenant, subject: { kind: 'user', id: principal.id } })
      const secure = request.protocol === 'https' ? '; Secure' : ''
      reply.header('set-cookie', `${SESSION_COOKIE}=${principals.open(principal)}; ${attributes}; Max-Age=${Math.floor(context.config.sessionLifetimeMs / 1_000)}${secure}`)
      return { id: principal.id, tenant: principal.tenant, roles: [...principal.roles] }
    },
  )
  api.get('/session', { schema: { summary: 'Who am I', tags: ['session'], response: { 200: WhoSchema, ...problemResponses() } } }, async (request) => {
    const { id, tenant, roles } = context.allow(request, 'read', 'session')
    return { id, tenant, roles: [...roles] }
  })
  api.delete('/session', { schema: { summary: 'Log out; without a session nothing happens', tags: ['session'], security: [], response: { 204: Type.Null(), ...problemResponses() } } }, async (request, reply) => {
    const principal = principals.close(request)
    const who = principal === undefined ? {} : { actor: `user:${principal.id}`, tenant: principal.tenant, subject: { kind: 'user', id: principal.id } }
    context.tell(request, { action: 'session.close', ...who })
    return reply.code(204).header('set-cookie', `${SESSION_COOKIE}=; ${attributes}; Max-Age=0`).send(null)
  })
}
