import type { FastifyInstance, FastifyReply } from 'fastify'
import type { ProvisioningConfig } from '../config.ts'
import { OCSP_PATH } from '../ca/extensions.ts'
import type { OcspReply, OcspResponder } from './ocsp-responder.ts'

/** OCSP over HTTP, RFC 6960 appendix A: POST with the request as body, GET with it as base64 in the path. */
export function addOcspRoutes(app: FastifyInstance, { responder, config }: { responder: OcspResponder; config: ProvisioningConfig }): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser(
    'application/ocsp-request',
    { parseAs: 'buffer', bodyLimit: config.ocspRequestBytesMax },
    (_request, body, done) => done(null, body),
  )
  app.post<{ Body: unknown }>(OCSP_PATH, { bodyLimit: config.ocspRequestBytesMax }, async (request, reply) => {
    // Without a body there is no request: that is malformed, too.
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
    return send(reply, await responder.answer(body))
  })
  app.get(`${OCSP_PATH}/*`, async (request, reply) => {
    const path = request.raw.url ?? ''
    return send(reply, await responder.answer(fromPath(path.slice(OCSP_PATH.length + 1), config.ocspRequestBytesMax)))
  })
}

/** base64 with `/`, `+` and `=` escaped or not; whatever is none is no request, which the responder says in its own words. */
function fromPath(escaped: string, bytesMax: number): Buffer {
  const nothing = Buffer.alloc(0)
  if (escaped.length > bytesMax * 4) return nothing
  try {
    return Buffer.from(decodeURIComponent(escaped), 'base64')
  } catch (error) {
    if (error instanceof URIError) return nothing
    throw error
  }
}

/** A cache must ask again each time: an answer of before a revocation must not outlive it. RFC 5019 §6 would let it. */
function send(reply: FastifyReply, { der, thisUpdateMs }: OcspReply): unknown {
  reply.header('cache-control', 'no-cache').type('application/ocsp-response')
  if (thisUpdateMs !== undefined) reply.header('last-modified', new Date(thisUpdateMs).toUTCString())
  return reply.send(der)
}
