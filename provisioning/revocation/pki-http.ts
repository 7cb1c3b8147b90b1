import fastify, { type FastifyInstance } from 'fastify'
import type { AddressInfo, Socket } from 'node:net'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { ProvisioningConfig } from '../config.ts'
import { pkiOrigin } from '../pki-origin.ts'
import { crlPath, deltaCrlPath, issuerPath } from '../ca/extensions.ts'
import type { IssuingCa } from '../ca/issuing-ca.ts'
import { closeWithin, listenPlainly, trackSockets } from '../https/listener.ts'
import { answerPlainErrors } from '../https/plain-errors.ts'
import type { OcspResponder } from './ocsp-responder.ts'
import { addOcspRoutes } from './ocsp-routes.ts'
import type { CurrentCrl, RevocationList } from './revocation-list.ts'

export interface PkiHttpOptions {
  authority: CertificateAuthority
  revocationList: RevocationList
  ocspResponder: OcspResponder
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/** Plain HTTP for verifiers: CRLs, OCSP and CA certificates, all signed in themselves. RFC 5280 §4.2.1.13, §4.2.2.1; RFC 6960 */
export class PkiHttp implements Service {
  readonly name = 'pki-http'
  readonly #options: PkiHttpOptions
  #app: FastifyInstance | undefined
  #sockets: ReadonlySet<Socket> = new Set()

  constructor(options: PkiHttpOptions) {
    this.#options = options
  }

  /** Throws EnvironmentError PORT_IN_USE or LISTEN_FAILED naming host and port. */
  async start(): Promise<void> {
    if (this.#app !== undefined) return
    const { config, log } = this.#options
    const app = this.#build()
    await listenPlainly(app, config.pkiHttpHost, config.pkiHttpPort, 'FLEETPULSE_PKI_HTTP_PORT')
    this.#app = app
    log.info({ host: config.pkiHttpHost, port: this.port, url: this.publicUrl }, 'PKI HTTP listens')
  }

  async stop(): Promise<void> {
    const app = this.#app
    this.#app = undefined
    if (app !== undefined) await closeWithin(app, this.#sockets, this.#options.clock, this.#options.config.drainTimeoutMs)
  }

  /** The bound port; 0 when stopped. */
  get port(): number {
    return (this.#app?.server.address() as AddressInfo | null | undefined)?.port ?? 0
  }

  /** The origin that goes into certificates, without a slash at its end: as configured, or by our first name and the bound port. */
  get publicUrl(): string {
    return pkiOrigin(this.#options.config, this.port)
  }

  #build(): FastifyInstance {
    const { authority, config, log, ocspResponder } = this.#options
    const app = fastify({
      bodyLimit: 1,
      requestTimeout: config.requestTimeoutMs,
      keepAliveTimeout: config.keepAliveTimeoutMs,
      forceCloseConnections: 'idle',
    })
    app.server.maxConnections = config.connectionsMax
    this.#sockets = trackSockets(app.server)
    answerPlainErrors(app, log)
    app.get('/crl/:file', async (request, reply) => {
      const crl = await this.#crlAt(request.url.split('?', 1)[0] ?? '')
      if (crl === undefined) return reply.callNotFound()
      // It changes with every revocation: a cache has to ask each time, but may keep what has not changed.
      const etag = `"${crl.number}"`
      reply.header('etag', etag).header('cache-control', 'no-cache').header('last-modified', new Date(crl.thisUpdateMs).toUTCString())
      if (request.headers['if-none-match'] === etag) return reply.code(304).send()
      return reply.type('application/pkix-crl').send(crl.der)
    })
    app.get('/ca/:file', (request, reply) => {
      const path = request.url.split('?', 1)[0] ?? ''
      const ca = [...authority.issuers, ...authority.roots].find(({ id }) => path === issuerPath(id))
      if (ca === undefined) return reply.callNotFound()
      return reply.type('application/pkix-cert').send(ca.certificate.raw)
    })
    addOcspRoutes(app, { responder: ocspResponder, config })
    return app
  }

  async #crlAt(path: string): Promise<CurrentCrl | undefined> {
    const { authority, revocationList } = this.#options
    const named = (pathOf: (issuerId: string) => string): IssuingCa | undefined => authority.issuers.find(({ id }) => path === pathOf(id))
    const ofFull = named(crlPath)
    if (ofFull !== undefined) return revocationList.current(ofFull)
    const ofRoot = authority.roots.find(({ id }) => path === crlPath(id))
    if (ofRoot !== undefined) return ofRoot.crl
    const ofDelta = named(deltaCrlPath)
    return ofDelta === undefined ? undefined : revocationList.delta(ofDelta)
  }
}
