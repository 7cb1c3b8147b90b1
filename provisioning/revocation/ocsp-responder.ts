import type { Counter } from 'prom-client'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { IssuingCa } from '../ca/issuing-ca.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { CertificateStatus, StatusSource } from './certificate-status.ts'
import { IssuerHashes } from './issuer-hashes.ts'
import { readOcspRequest, type CertId, type OcspRequest } from './ocsp-request.ts'
import { encodeOcspAnswer, encodeOcspError, type OcspError, type SingleAnswer } from './ocsp-response.ts'
import { OcspSigners } from './ocsp-signers.ts'

export interface OcspResponderOptions {
  authority: CertificateAuthority
  /** Asked one after the other until one knows the certificate. */
  sources: readonly StatusSource[]
  config: ProvisioningConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** An answer to be sent, and for how long it holds; the latter is absent for errors. */
export interface OcspReply {
  der: Buffer
  thisUpdateMs?: number
  nextUpdateMs?: number
}

/**
 * Answers OCSP requests, RFC 6960, for certificates of all our CAs, each with a responder certificate of that CA. What is known is looked
 * up for every answer, so that none is ever behind a revocation; what is kept is the signature, for as long as it still says what is
 * known. Whatever comes in, something that OCSP has comes out.
 */
export class OcspResponder implements Service {
  readonly name = 'ocsp-responder'
  readonly #options: OcspResponderOptions
  readonly #signers: OcspSigners
  readonly #hashes = new IssuerHashes()
  readonly #answersTotal: Counter<'answer'>
  /** By what is asked and what is answered; the least recently used first. */
  readonly #kept = new Map<string, Required<OcspReply>>()

  constructor(options: OcspResponderOptions) {
    this.#options = options
    this.#signers = new OcspSigners(options)
    this.#answersTotal = options.metrics.counter('provisioning_ocsp_answers_total', 'OCSP answers, by what they say of each certificate', [
      'answer',
    ])
  }

  start(): Promise<void> {
    return Promise.resolve()
  }

  /** Forgets keys and answers. */
  stop(): Promise<void> {
    this.#signers.forget()
    this.#kept.clear()
    return Promise.resolve()
  }

  async answer(request: Uint8Array): Promise<OcspReply> {
    let asked: OcspRequest
    try {
      asked = readOcspRequest(request)
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.#options.log.debug({ error: error.message }, 'OCSP request malformed')
      return this.#error('malformedRequest')
    }
    try {
      return await this.#answer(asked)
    } catch (error) {
      this.#options.log.error({ error: describeError(error) }, 'an OCSP request could not be answered')
      return this.#error('tryLater')
    }
  }

  /** The answer about one certificate of ours, for its holder to staple. RFC 6066 §8 */
  async staple(issuer: IssuingCa, certId: CertId): Promise<Required<OcspReply>> {
    return this.#signed(issuer, [{ certId: certId.raw, status: await this.#statusOf(issuer, certId) }], undefined)
  }

  async #answer({ certIds, nonce }: OcspRequest): Promise<OcspReply> {
    const { issuers } = this.#options.authority
    const meant = certIds.map((certId) => this.#hashes.find(certId, issuers))
    // §2.3: for none of them are we entitled to speak.
    const issuer = meant.find((one) => one !== undefined)
    if (issuer === undefined) return this.#error('unauthorized')
    const answers: SingleAnswer[] = []
    for (const [i, certId] of certIds.entries()) {
      // §4.2.2.2: the responder's certificate speaks for the CA that signed it, and for no other.
      const status: CertificateStatus = meant[i] === issuer ? await this.#statusOf(issuer, certId) : { status: 'unknown' }
      this.#answersTotal.inc({ answer: status.status })
      answers.push({ certId: certId.raw, status })
    }
    return this.#signed(issuer, answers, nonce)
  }

  async #statusOf({ keyId }: IssuingCa, { serial }: CertId): Promise<CertificateStatus> {
    for (const source of this.#options.sources) {
      const status = await source.statusOf(keyId, serial)
      if (status.status !== 'unknown') return status
    }
    return { status: 'unknown' }
  }

  /** With a nonce it is signed for this one request (§4.4.1), else kept for the next that asks the same. */
  async #signed(issuer: IssuingCa, answers: readonly SingleAnswer[], nonce: Buffer | undefined): Promise<Required<OcspReply>> {
    const { clock, config } = this.#options
    const nowMs = clock.nowMs()
    const key = nonce === undefined ? keyOf(issuer, answers) : ''
    const kept = this.#kept.get(key)
    if (nonce === undefined && kept !== undefined && isFresh(kept, nowMs, config.crlRefreshAfterFraction)) {
      this.#kept.delete(key)
      this.#kept.set(key, kept)
      return kept
    }
    const thisUpdateMs = nowMs
    const nextUpdateMs = nowMs + config.ocspLifetimeMs
    const der = await encodeOcspAnswer({ answers, thisUpdateMs, nextUpdateMs, nonce }, await this.#signers.of(issuer))
    const reply = { der, thisUpdateMs, nextUpdateMs }
    if (nonce === undefined) this.#keep(key, reply)
    return reply
  }

  #keep(key: string, reply: Required<OcspReply>): void {
    this.#kept.delete(key)
    this.#kept.set(key, reply)
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#options.config.ocspCacheMax) return
      this.#kept.delete(oldest)
    }
  }

  #error(error: OcspError): OcspReply {
    this.#answersTotal.inc({ answer: error })
    return { der: encodeOcspError(error) }
  }
}

function keyOf({ keyId }: IssuingCa, answers: readonly SingleAnswer[]): string {
  const said = answers.map(({ certId, status }) => {
    const more = status.status === 'revoked' ? ` ${status.revokedAtMs} ${status.reason}` : ''
    return `${Buffer.from(certId).toString('base64')} ${status.status}${more}`
  })
  return [keyId, ...said].join('\n')
}

function isFresh({ thisUpdateMs, nextUpdateMs }: Required<OcspReply>, nowMs: number, fraction: number): boolean {
  return nowMs >= thisUpdateMs && nowMs < thisUpdateMs + (nextUpdateMs - thisUpdateMs) * fraction
}
