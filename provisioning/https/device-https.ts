import fastify, { type FastifyInstance } from 'fastify'
import type { Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Counter, Histogram } from 'prom-client'
import { issuerOf, type DoorAnswer, type FactoryCredential, type Trust } from '../../contracts/credential.ts'
import type { RegistryView } from '../../contracts/registry-view.ts'
import type { UplinkSink } from '../../contracts/uplink.ts'
import { ClientIssuers } from '../../kernel/client-issuers.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import { REVOCATION_BUCKETS_S, type Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import { stapling, TLS_INTERMEDIATE, type TlsMaterial } from '../../kernel/tls.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import { readClientCertificate, type ClientCertificate } from './client-certificate.ts'
import type { ProvisioningConfig } from '../config.ts'
import { DeviceConnections } from './device-connections.ts'
import type { EnrolmentConfig } from '../doors/config.ts'
import type { CertificateCredential, Enrolment } from '../doors/enrolment.ts'
import type { JustInTime } from '../doors/just-in-time.ts'
import { toPem } from '../ca/sign-certificate.ts'
import { addEstRoutes } from '../doors/est-routes.ts'
import { closeWithin, listenPlainly, trackSockets } from './listener.ts'
import { answerPlainErrors } from './plain-errors.ts'
import type { ServerCertificate } from '../ca/server-certificate.ts'
import { addTelemetryRoute } from './telemetry-route.ts'

export interface DeviceHttpsOptions {
  authority: CertificateAuthority
  serverCertificate: ServerCertificate
  enrolment: Enrolment
  trust: Trust
  justInTime: JustInTime
  registryView: RegistryView
  uplinkSink: UplinkSink
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
  metrics: Metrics
  /** Told of every connection with a certificate of ours; may not throw. */
  onCertificateUsed?: (credential: CertificateCredential) => void
  /** Told of every connection with a revoked one; may not throw. */
  onCertificateRefused?: (refused: CertificateCredential & { listener: string; remoteAddress: string }) => void
}

/** The device HTTPS listener: EST and HTTPS ingest. It asks for a client certificate and does not require one. */
export class DeviceHttps implements Service {
  readonly name = 'device-https'
  readonly #options: DeviceHttpsOptions
  readonly #handshakesTotal: Counter<'outcome'>
  readonly #revocationSeconds: Histogram
  readonly #connections = new DeviceConnections()
  /** Judged once per connection, not per request. */
  readonly #clients = new WeakMap<TLSSocket, ClientCertificate>()
  /** Admissions of factory certificates: one per connection, except that a refusal may be asked again. */
  readonly #admissions = new WeakMap<TLSSocket, Promise<DoorAnswer<object>>>()
  #app: FastifyInstance<Server> | undefined
  #issuers = new ClientIssuers({})
  #sockets: ReadonlySet<Socket> = new Set()
  #unsubscribe: (() => void)[] = []

  constructor(options: DeviceHttpsOptions) {
    this.#options = options
    this.#handshakesTotal = options.metrics.counter(
      'provisioning_https_handshakes_total',
      'TLS handshakes by what came of them and of the client certificate.',
      ['outcome'],
    )
    this.#revocationSeconds = options.metrics.histogram(
      'provisioning_revocation_seconds',
      'From the call that revoked a certificate, in whichever process, to the close of each of its HTTPS connections',
      REVOCATION_BUCKETS_S,
    )
  }

  /** Throws EnvironmentError PORT_IN_USE or LISTEN_FAILED naming host and port. */
  async start(): Promise<void> {
    if (this.#app !== undefined) return
    const { config, registryView, serverCertificate, trust, log } = this.#options
    const { material } = serverCertificate
    this.#issuers = new ClientIssuers(material)
    const app = this.#build(material)
    const staple = stapling(app.server, material)
    await listenPlainly(app, config.httpsHost, config.httpsPort, 'FLEETPULSE_HTTPS_PORT')
    this.#app = app
    this.#unsubscribe = [
      // New handshakes get the new certificate, sessions under way keep theirs.
      serverCertificate.onServerCertificate((next) => {
        app.server.setSecureContext(secureContext(next, trust))
        this.#issuers = new ClientIssuers(next)
        staple(next)
      }),
      trust.onChanged(() => {
        app.server.setSecureContext(secureContext(serverCertificate.material, trust))
        const count = this.#connections.expelLapsed((credential) => trust.lapse(credential) !== undefined)
        if (count > 0) log.info({ count }, 'HTTPS connections closed: what let them in was taken away')
      }),
      registryView.onExpelled((expelled) => {
        const { tenant, device, serial, reason, at } = expelled
        const count = this.#connections.expel(expelled, () => this.#closed(serial === undefined ? undefined : at))
        if (count > 0) log.info({ tenant, device, serial, reason, count }, 'HTTPS connections closed')
      }),
    ]
    log.info({ host: config.httpsHost, port: this.port }, 'device HTTPS listens')
  }

  /** Lets requests in flight finish within `drainTimeoutMs`, then closes. */
  async stop(): Promise<void> {
    const app = this.#app
    this.#app = undefined
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    if (app !== undefined) await closeWithin(app, this.#sockets, this.#options.clock, this.#options.config.drainTimeoutMs)
  }

  /** The bound port; 0 when stopped. */
  get port(): number {
    return (this.#app?.server.address() as AddressInfo | null | undefined)?.port ?? 0
  }

  #build(material: TlsMaterial): FastifyInstance<Server> {
    const { authority, clock, config, enrolment, enrolmentConfig, log, metrics, registryView, trust, uplinkSink } = this.#options
    const app = fastify({
      https: { ...secureContext(material, trust), requestCert: true, rejectUnauthorized: false, handshakeTimeout: config.requestTimeoutMs },
      bodyLimit: config.estBodyBytesMax,
      requestTimeout: config.requestTimeoutMs,
      keepAliveTimeout: config.keepAliveTimeoutMs,
      forceCloseConnections: 'idle',
      genReqId: () => newId(clock.nowMs()),
    })
    app.server.maxConnections = config.connectionsMax
    this.#sockets = trackSockets(app.server)
    app.server.on('secureConnection', (socket) => this.#meet(socket))
    app.server.on('tlsClientError', () => this.#handshakesTotal.inc({ outcome: 'failed' }))
    answerPlainErrors(app, log)
    app.removeAllContentTypeParsers()
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    const clientOf = (request: { raw: { socket: unknown } }): ClientCertificate => this.#clientOf(request.raw.socket as TLSSocket)
    const admit = (request: { ip: string; raw: { socket: unknown } }): Promise<DoorAnswer<object>> =>
      this.#admit(request.raw.socket as TLSSocket, request.ip)
    const typeOf = (tenant: string, device: string): string | undefined => registryView.typeOf(tenant, device)?.id
    addEstRoutes(app, { authority, enrolment, enrolmentConfig, clientOf, admit, typeOf, config })
    addTelemetryRoute(app, { ...config, registryView, uplinkSink, clock, log, metrics, clientOf, admit })
    return app
  }

  #meet(socket: TLSSocket): void {
    const client = readClientCertificate(socket, this.#options.trust, this.#issuers)
    this.#clients.set(socket, client)
    this.#handshakesTotal.inc({ outcome: client.status })
    if (client.status === 'verified') {
      this.#connections.add(socket, client.credential)
      const { tenant, device, serial } = client.credential
      const admission = this.#options.registryView.admit(tenant, device, serial, issuerOf(client.credential))
      // It may still be answered, with a refusal that says why.
      if (admission.status === 'refused' && admission.reason === 'certificate-revoked') {
        const remoteAddress = socket.remoteAddress ?? ''
        this.#options.onCertificateRefused?.({ ...client.credential, listener: 'https', remoteAddress })
      } else this.#options.onCertificateUsed?.(client.credential)
    }
    if (client.status === 'refused')
      this.#options.log.warn({ reason: client.reason, remote: socket.remoteAddress }, 'client certificate refused')
  }

  #closed(revokedAtMs: number | undefined): void {
    // Wall clocks of two machines may differ by more than it took.
    if (revokedAtMs !== undefined) this.#revocationSeconds.observe(Math.max(0, this.#options.clock.nowMs() - revokedAtMs) / 1_000)
  }

  #clientOf(socket: TLSSocket): ClientCertificate {
    const client = this.#clients.get(socket) ?? { status: 'absent' }
    const lapse = client.status === 'verified' ? this.#options.trust.lapse(client.credential) : undefined
    if (lapse !== undefined) return { status: 'refused', reason: lapse }
    const isOver = client.status === 'verified' && client.notAfterMs < this.#options.clock.nowMs()
    return isOver ? { status: 'refused', reason: 'the client certificate has expired' } : client
  }

  /** Lets a factory certificate in once per connection; what was not granted is asked again with the next request. */
  #admit(socket: TLSSocket, origin: string): Promise<DoorAnswer<object>> {
    const client = this.#clientOf(socket)
    if (client.status !== 'verified' || client.credential.kind !== 'factory') return Promise.resolve(GRANTED)
    const { credential, certificateDer } = client
    let admission = this.#admissions.get(socket)
    if (admission === undefined) {
      admission = this.#admitFactory({ credential, certificatePem: toPem('CERTIFICATE', certificateDer), origin })
      this.#admissions.set(socket, admission)
      const forget = (): boolean => this.#admissions.delete(socket)
      admission.then((answer) => answer.status === 'granted' || forget(), forget)
    }
    return admission
  }

  /** Whoever is let in is known to this process's view a moment later, and their request waits for that. */
  async #admitFactory(request: { credential: FactoryCredential; certificatePem: string; origin: string }): Promise<DoorAnswer<object>> {
    const { justInTime, registryView, clock } = this.#options
    const { tenant, device, serial } = request.credential
    const answer = await justInTime.admit(request)
    const untilMs = clock.monotonicMs() + VIEW_TIMEOUT_MS
    const isSeen = (): boolean => {
      const admission = registryView.admit(tenant, device, serial)
      return admission.status === 'admitted' || admission.reason !== 'unknown-device'
    }
    while (answer.status === 'granted' && !isSeen() && clock.monotonicMs() < untilMs) await sleep(clock, VIEW_LOOK_MS)
    return answer
  }
}

/** How long the view of the registry may take to hear of a device that was let in, and how often it is looked at, in ms. */
const VIEW_TIMEOUT_MS = 3_000
const VIEW_LOOK_MS = 5

/** Granted to whoever needs no admission. */
const GRANTED: DoorAnswer<object> = { status: 'granted' }

/** Mozilla's intermediate profile; the trust holds the issuing CA too, so that a device may send its leaf alone. */
function secureContext(material: TlsMaterial, trust: Trust): typeof TLS_INTERMEDIATE & { key: string; cert: string; ca: string } {
  return { ...TLS_INTERMEDIATE, key: material.keyPem, cert: material.certChainPem, ca: material.caPem + trust.anchorsPem }
}
