import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Server } from 'node:https'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { ClientCertificate } from '../https/client-certificate.ts'
import { objectIdentifier, sequence, set } from '../ca/der.ts'
import type { Enrolment, EnrolmentOutcome } from './enrolment.ts'
import { base64Lines, encodeCertsOnly } from '../ca/pkcs7.ts'

export interface EstRoutesOptions {
  authority: CertificateAuthority
  enrolment: Enrolment
  estBodyBytesMax: number
  /** The certificate of the request's connection, judged now. */
  clientOf: (request: EstRequest) => ClientCertificate
}

type EstRequest = FastifyRequest<Record<never, never>, Server>
type EstReply = FastifyReply<Record<never, never>, Server>

const CERTS_ONLY = 'application/pkcs7-mime; smime-type=certs-only'
const PREFIX = '/.well-known/est'

/**
 * Hints for a CSR: an EC key on P-256 or P-384, signed with ECDSA and SHA-256; names are not asked for, since we decide them.
 * RFC 7030 §4.5.2, AttrOrOID as in RFC 8951 §3.
 */
const CSR_ATTRIBUTES = sequence(
  sequence(objectIdentifier('1.2.840.10045.2.1'), set(objectIdentifier('1.2.840.10045.3.1.7'), objectIdentifier('1.3.132.0.34'))),
  objectIdentifier('1.2.840.10045.4.3.2'),
)

/** Enrollment over Secure Transport, RFC 7030 §4.1, §4.2 and §4.5. */
export function addEstRoutes(app: FastifyInstance<Server>, options: EstRoutesOptions): void {
  const { authority, enrolment, clientOf } = options
  const bodyLimit = options.estBodyBytesMax

  app.get(`${PREFIX}/cacerts`, (_request, reply) =>
    sendBase64(reply, CERTS_ONLY, encodeCertsOnly(authority.trusted.map(({ raw }) => raw))),
  )
  app.get(`${PREFIX}/csrattrs`, (_request, reply) => sendBase64(reply, 'application/csrattrs', base64Lines(CSR_ATTRIBUTES)))

  app.post(`${PREFIX}/simpleenroll`, { bodyLimit }, async (request, reply) => {
    const basic = basicOf(request.headers.authorization)
    const client = basic === undefined ? clientOf(request) : undefined
    if (basic === undefined && client?.status !== 'verified') {
      return askForBasic(
        reply,
        client?.status === 'refused' ? client.reason : 'this needs HTTP Basic with device id and enrolment token, or a client certificate',
      )
    }
    const csr = csrOf(request)
    if (csr.status === 'refused') return sendText(reply, csr.code, csr.detail)
    if (basic !== undefined) return answer(reply, await enrolment.enrolWithToken(basic.user, basic.password, csr.der), true)
    if (client?.status !== 'verified') return askForBasic(reply, 'this needs a client certificate')
    return answer(reply, await enrolment.enrolWithCertificate(client.credential, csr.der, { sameIdentity: false }), false)
  })

  app.post(`${PREFIX}/simplereenroll`, { bodyLimit }, async (request, reply) => {
    const client = clientOf(request)
    // Not 401: HTTP Basic would not help, only the certificate that is to be renewed. RFC 7030 §3.3.2, §4.2.2
    if (client.status !== 'verified')
      return sendText(reply, 403, client.status === 'refused' ? client.reason : 'this needs the client certificate to be renewed')
    const csr = csrOf(request)
    if (csr.status === 'refused') return sendText(reply, csr.code, csr.detail)
    return answer(reply, await enrolment.enrolWithCertificate(client.credential, csr.der, { sameIdentity: true }), false)
  })
}

/** RFC 7030 §4.2.3: 200 with the certificate issued and no other; otherwise a status and the reason in words. */
function answer(reply: EstReply, outcome: EnrolmentOutcome, byToken: boolean): EstReply {
  if (outcome.status === 'issued') {
    const der = Buffer.from(outcome.certificate.pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
    return sendBase64(reply, CERTS_ONLY, encodeCertsOnly([der]))
  }
  if (outcome.reason === 'credential-refused') return byToken ? askForBasic(reply, outcome.detail) : sendText(reply, 403, outcome.detail)
  if (outcome.reason === 'device-refused') return sendText(reply, 403, outcome.detail)
  return sendText(reply, 400, outcome.detail)
}

type CsrBody = { status: 'read'; der: Buffer } | { status: 'refused'; code: number; detail: string }

/** Base64 DER as RFC 7030 §4.2.1 says, white space anywhere (RFC 8951 §3.1), and PEM, which people send by hand. */
function csrOf(request: EstRequest): CsrBody {
  const mediaType = (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase()
  if (mediaType !== 'application/pkcs10') return { status: 'refused', code: 415, detail: 'the content type must be application/pkcs10' }
  const text = Buffer.isBuffer(request.body) ? request.body.toString('latin1') : ''
  const base64 = text.replace(/-----(?:BEGIN|END) (?:NEW )?CERTIFICATE REQUEST-----/g, '').replace(/\s/g, '')
  if (base64 === '' || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return { status: 'refused', code: 400, detail: 'the body is not base64' }
  return { status: 'read', der: Buffer.from(base64, 'base64') }
}

/** RFC 7617 §2: the user id has no colon, the password may. */
function basicOf(header: string | undefined): { user: string; password: string } | undefined {
  const match = /^basic +([A-Za-z0-9+/=]+) *$/i.exec(header ?? '')
  if (match === null) return undefined
  const text = Buffer.from(match[1] as string, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon < 0 ? undefined : { user: text.slice(0, colon), password: text.slice(colon + 1) }
}

/** RFC 7030 §3.2.3: 401 when HTTP authentication can make it succeed. */
function askForBasic(reply: EstReply, detail: string): EstReply {
  return sendText(reply.header('www-authenticate', 'Basic realm="fleetpulse enrolment", charset="UTF-8"'), 401, detail)
}

function sendText(reply: EstReply, code: number, detail: string): EstReply {
  return reply.code(code).type('text/plain; charset=utf-8').send(`${detail}\n`)
}

/** Clients made before RFC 8951 §3.1 decode only when the header is there; later ones ignore it. */
function sendBase64(reply: EstReply, type: string, body: string): EstReply {
  return reply.code(200).header('content-type', type).header('content-transfer-encoding', 'base64').send(body)
}
