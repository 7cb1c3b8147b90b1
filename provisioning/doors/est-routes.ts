import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Server } from 'node:https'
import type { Credential, DoorAnswer } from '../../contracts/credential.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import { base64Lines, encodeCertsOnly } from '../ca/pkcs7.ts'
import type { ClientCertificate } from '../https/client-certificate.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { EnrolmentConfig } from './config.ts'
import { encodeCsrAttributes } from './csr-attributes.ts'
import type { Enrolment, EnrolmentOutcome } from './enrolment.ts'
import { readBasic, readCsrBody } from './est-body.ts'
import { allowedKeys, type KeyMaker } from './key-source.ts'
import { keyTypesOf } from './key-strength.ts'

export interface EstRoutesOptions {
  authority: CertificateAuthority
  enrolment: Enrolment
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
  /** The certificate of the request's connection, judged now. */
  clientOf: (request: EstRequest) => ClientCertificate
  /** Lets the holder of a factory certificate in; anybody else it leaves as they are. */
  admit: (request: EstRequest) => Promise<DoorAnswer<object>>
  /** Type of a device that is known. */
  typeOf: (tenant: string, device: string) => string | undefined
}

type EstRequest = FastifyRequest<Record<never, never>, Server>
type EstReply = FastifyReply<Record<never, never>, Server>
type DeviceHolder = Exclude<Credential, { kind: 'claim' }>

const CERTS_ONLY = 'application/pkcs7-mime; smime-type=certs-only'
const PREFIX = '/.well-known/est'
const BOUNDARY_BYTES = 18

/** Enrollment over Secure Transport, RFC 7030 §4.1, §4.2, §4.4 and §4.5. */
export function addEstRoutes(app: FastifyInstance<Server>, options: EstRoutesOptions): void {
  const { authority } = options
  const bodyLimit = options.config.estBodyBytesMax
  const door = new EstDoor(options)

  app.get(`${PREFIX}/cacerts`, (_request, reply) => sendBase64(reply, CERTS_ONLY, encodeCertsOnly(authority.trusted.map(({ raw }) => raw))))
  app.get(`${PREFIX}/csrattrs`, (request, reply) => sendBase64(reply, 'application/csrattrs', base64Lines(door.csrAttributes(request))))
  app.post(`${PREFIX}/simpleenroll`, { bodyLimit }, (request, reply) => door.enrol(request, reply, 'device'))
  app.post(`${PREFIX}/simplereenroll`, { bodyLimit }, (request, reply) => door.reenrol(request, reply))
  app.post(`${PREFIX}/serverkeygen`, { bodyLimit }, (request, reply) => {
    if (options.enrolmentConfig.serverKeygenTypes.length > 0) return door.enrol(request, reply, 'server')
    return sendText(reply, 404, 'keys are not made here: the device makes its own and enrols with simpleenroll')
  })
}

class EstDoor {
  readonly #options: EstRoutesOptions

  constructor(options: EstRoutesOptions) {
    this.#options = options
  }

  csrAttributes(request: EstRequest): Buffer {
    const { config, enrolmentConfig, typeOf } = this.#options
    const client = this.#options.clientOf(request)
    const holder = client.status === 'verified' ? client.credential : undefined
    const type = holder === undefined ? undefined : typeOf(holder.tenant, holder.device)
    return encodeCsrAttributes(allowedKeys(enrolmentConfig, type ?? '') ?? keyTypesOf(config), holder)
  }

  async enrol(request: EstRequest, reply: EstReply, keyMaker: KeyMaker): Promise<EstReply> {
    const { enrolment, clientOf } = this.#options
    const basic = readBasic(request.headers.authorization)
    const client = basic === undefined ? clientOf(request) : undefined
    if (basic === undefined && client?.status !== 'verified') {
      if (client?.status === 'refused') return askForBasic(reply, client.reason)
      // Nothing was shown: a bare challenge. BouncyCastle's client asks without its credentials first, and fails on a challenge with a body.
      return request.headers.authorization === undefined ? challenge(reply).code(401).send() : askForBasic(reply, 'this needs HTTP Basic')
    }
    const csr = csrOf(request)
    if (csr.status === 'refused') return sendText(reply, csr.code, csr.detail)
    const how = { keyMaker, origin: request.ip }
    if (basic !== undefined) return answer(reply, await enrolment.enrolWithToken(basic.user, basic.password, csr.der, how), true)
    if (client?.status !== 'verified') return askForBasic(reply, 'this needs a client certificate')
    return this.#enrolWith(client.credential, request, reply, csr.der, { ...how, sameIdentity: false })
  }

  async reenrol(request: EstRequest, reply: EstReply): Promise<EstReply> {
    const client = this.#options.clientOf(request)
    // Not 401: HTTP Basic would not help, only the certificate that is to be renewed. RFC 7030 §3.3.2, §4.2.2
    if (client.status !== 'verified')
      return sendText(reply, 403, client.status === 'refused' ? client.reason : 'this needs the client certificate to be renewed')
    const csr = csrOf(request)
    if (csr.status === 'refused') return sendText(reply, csr.code, csr.detail)
    if (client.credential.kind === 'factory') {
      return sendText(reply, 403, 'a factory certificate is not renewed here; enrol with simpleenroll')
    }
    return this.#enrolWith(client.credential, request, reply, csr.der, { origin: request.ip, sameIdentity: true })
  }

  async #enrolWith(
    credential: DeviceHolder,
    request: EstRequest,
    reply: EstReply,
    csrDer: Buffer,
    how: { keyMaker?: KeyMaker; origin: string; sameIdentity: boolean },
  ): Promise<EstReply> {
    const { admit, enrolment } = this.#options
    const admission = await admit(request)
    if (admission.status === 'pending') return askLater(reply, admission)
    if (admission.status === 'refused') return sendText(reply, 403, admission.detail)
    const door = credential.kind === 'factory' ? 'est-factory' : 'est-certificate'
    return answer(reply, await enrolment.enrolWithCertificate(credential, csrDer, { ...how, door }), false)
  }
}

/** RFC 7030 §4.2.3: 200 with the certificate issued and no other; 202 to be asked again; otherwise a status and the reason in words. */
function answer(reply: EstReply, outcome: EnrolmentOutcome, byToken: boolean): EstReply {
  if (outcome.status === 'issued') {
    const der = Buffer.from(outcome.certificate.pem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
    const certificates = encodeCertsOnly([der])
    return outcome.privateKey === undefined ? sendBase64(reply, CERTS_ONLY, certificates) : sendKey(reply, outcome.privateKey, certificates)
  }
  if (outcome.status === 'pending') return askLater(reply, outcome)
  const { reason, detail } = outcome
  if (reason === 'credential-refused') return byToken ? askForBasic(reply, detail) : sendText(reply, 403, detail)
  return sendText(reply, FORBIDDEN.has(reason) ? 403 : 400, detail)
}

/** What another request of the same device would not change. */
const FORBIDDEN: ReadonlySet<string> = new Set(['device-refused', 'type-refused', 'hook-refused', 'hook-failed', 'key-generation-off'])

function csrOf(request: EstRequest) {
  const transferEncoding = request.headers['content-transfer-encoding']
  return readCsrBody({
    contentType: request.headers['content-type'],
    transferEncoding: Array.isArray(transferEncoding) ? transferEncoding.join(',') : transferEncoding,
    body: request.body,
  })
}

/** RFC 7030 §3.2.3: 401 when HTTP authentication can make it succeed. */
function askForBasic(reply: EstReply, detail: string): EstReply {
  return sendText(challenge(reply), 401, detail)
}

function challenge(reply: EstReply): EstReply {
  return reply.header('www-authenticate', 'Basic realm="fleetpulse enrolment: device id and token", charset="UTF-8"')
}

/** RFC 7030 §4.2.3: not decided yet. */
function askLater(reply: EstReply, { retryAfterMs, detail }: { retryAfterMs: number; detail: string }): EstReply {
  return sendText(reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000))), 202, detail)
}

function sendText(reply: EstReply, code: number, detail: string): EstReply {
  return reply.code(code).type('text/plain; charset=utf-8').send(`${detail}\n`)
}

/** Clients made before RFC 8951 §3.1 decode only when the header is there; later ones ignore it. */
function sendBase64(reply: EstReply, type: string, body: string): EstReply {
  return reply.code(200).header('content-type', type).header('content-transfer-encoding', 'base64').send(body)
}

/** RFC 7030 §4.4.2: the key, then the certificate. It is nowhere but in this answer. */
function sendKey(reply: EstReply, privateKey: Buffer, certificates: string): EstReply {
  const boundary = `est-${randomBytes(BOUNDARY_BYTES).toString('hex')}`
  const part = (type: string, base64: string): string =>
    `--${boundary}\r\nContent-Type: ${type}\r\nContent-Transfer-Encoding: base64\r\n\r\n${base64.replaceAll('\n', '\r\n')}`
  const body = `${part('application/pkcs8', base64Lines(privateKey))}${part(CERTS_ONLY, certificates)}--${boundary}--\r\n`
  return reply.code(200).header('content-type', `multipart/mixed; boundary=${boundary}`).header('cache-control', 'no-store').send(body)
}
