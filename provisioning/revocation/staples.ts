import { X509Certificate } from 'node:crypto'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { issuerKeyIdOf } from '../ca/extensions.ts'
import type { ServerCertificate } from '../ca/server-certificate.ts'
import type { ProvisioningConfig } from '../config.ts'
import { openServerCertificates, type ServerCertificateDocument } from './staple-documents.ts'

export interface StaplesOptions {
  documents: Documents
  serverCertificate: ServerCertificate
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/**
 * Keeps the staple of this process's server certificate fresh: publishes the certificate, and takes what the process with the CA's key
 * lays beside it. Without one, listeners simply staple nothing: TLS goes on.
 */
export class Staples implements Service {
  readonly name = 'staples'
  readonly #options: StaplesOptions
  /** Of the certificate that was published last. */
  #published = ''
  /** Epoch ms; until then what is stapled is fresh enough. */
  #lookAtMs = 0
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(options: StaplesOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, config, clock, log } = this.#options
    const certificates = await openServerCertificates(documents)
    const onError = (error: unknown): void =>
      log.warn({ error: describeError(error) }, 'the OCSP staple could not be looked for, trying again')
    this.#timer = every(clock, config.signingPollMs, () => (this.#looking = this.#look(certificates)), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#looking])
  }

  async #look(certificates: Collection<ServerCertificateDocument>): Promise<void> {
    const { serverCertificate, clock, config } = this.#options
    const { leaf, staple } = serverCertificate
    const serial = leaf.serialNumber
    const nowMs = clock.nowMs()
    if (serial !== this.#published) await this.#publish(certificates, leaf)
    if (nowMs < this.#lookAtMs) return
    const found = await certificates.get(serial)
    if (found === null) {
      this.#published = ''
      return
    }
    const laid = found.staple
    if (laid !== null && laid.nextUpdateMs > nowMs && laid.derBase64 !== staple?.derBase64) {
      serverCertificate.takeStaple(serial, laid)
      this.#lookAtMs = nowMs + (laid.nextUpdateMs - nowMs) * config.crlRefreshAfterFraction
      return
    }
    if (staple !== undefined && staple.nextUpdateMs <= nowMs) serverCertificate.takeStaple(serial, null)
    if (!found.isWanted) await certificates.update(serial, { $set: { isWanted: true } })
  }

  async #publish(certificates: Collection<ServerCertificateDocument>, leaf: X509Certificate): Promise<void> {
    const serial = leaf.serialNumber
    const notAfter = Date.parse(leaf.validTo)
    const issuer = issuerKeyIdOf(leaf.raw) ?? ''
    // There already after a restart: with its staple.
    await certificates.insert(serial, { serial, issuer, pem: leaf.toString(), notAfter, isWanted: true, staple: null })
    this.#published = serial
    this.#lookAtMs = 0
  }
}
