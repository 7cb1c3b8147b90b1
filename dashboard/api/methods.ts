import type { FastifyInstance } from 'fastify'

/**
 * Which methods a path takes: Fastify answers 404 for an undeclared method where RFC 9110 §15.5.6 wants 405 with Allow.
 * Must be made before the routes are.
 */
export class RouteMethods {
  readonly #routes: { pattern: RegExp; methods: string[] }[] = []

  constructor(server: FastifyInstance) {
    server.addHook('onRoute', ({ url, method }) => {
      if (url.endsWith('*')) return
      const pattern = new RegExp(`^${url.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/:[A-Za-z]+/g, '[^/]+')}$`)
      this.#routes.push({ pattern, methods: Array.isArray(method) ? method : [method] })
    })
  }

  allowed(url: string): string[] {
    const path = url.split('?')[0] ?? '/'
    const methods = this.#routes.filter(({ pattern }) => pattern.test(path)).flatMap((route) => route.methods)
    return [...new Set(methods)].sort()
  }
}
