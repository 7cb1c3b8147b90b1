import type { Logger } from '../../kernel/log.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'

export interface RevocationListOptions {
  documents: Documents
  authority: CertificateAuthority
  certificates: Certificates
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/** A signed CRL as it is handed out. */
export interface CurrentCrl {
  der: Buffer
  number: number
  thisUpdateMs: number
  nextUpdateMs: number
}

interface CrlNumber {
  number: number
}

const NUMBER_ID = 'issuing'

/**
 * The full CRL of the issuing CA, RFC 5280 §5. Signed when it is asked for and something was revoked since, or when more than the
 * configured part of its life is over: so what is handed out is never behind and never about to end, and nobody asking costs nothing.
 */
export class RevocationList implements Service {
  readonly name = 'revocation-list'
  readonly #options: RevocationListOptions
  #numbers: Collection<CrlNumber> | undefined
  #current: { crl: CurrentCrl; revision: number } | undefined
  #signing: Promise<CurrentCrl> | undefined
  /** Revocations that another process told of. */
  #elsewhere = 0

  constructor(options: RevocationListOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    this.#numbers ??= await this.#options.documents.collection<CrlNumber>({ name: 'crl-numbers', indexes: [] })
  }

  async stop(): Promise<void> {
    // A signing under way still needs the documents; its failure was given to whoever asked for it.
    await Promise.allSettled(this.#signing === undefined ? [] : [this.#signing])
    this.#numbers = undefined
    this.#current = undefined
  }

  /** Another process revoked a certificate: what is held is behind. */
  noteRevocation(): void {
    this.#elsewhere++
  }

  /** The CRL that holds every revocation that this process knew of before this call. */
  async current(): Promise<CurrentCrl> {
    // One signing at a time, however many ask; one that began before the latest revocation is followed by another.
    while (this.#signing !== undefined) await Promise.allSettled([this.#signing])
    const current = this.#current
    if (current !== undefined && current.revision === this.#revision && !this.#isDue(current.crl)) return current.crl
    this.#signing = this.#sign().finally(() => (this.#signing = undefined))
    return this.#signing
  }

  get #revision(): number {
    return this.#options.certificates.revision + this.#elsewhere
  }

  #isDue(crl: CurrentCrl): boolean {
    const { clock, config } = this.#options
    return clock.nowMs() >= crl.thisUpdateMs + config.crlLifetimeMs * config.crlRefreshAfterFraction || clock.nowMs() < crl.thisUpdateMs
  }

  async #sign(): Promise<CurrentCrl> {
    const { authority, certificates, clock, config, log } = this.#options
    const revision = this.#revision
    const nowMs = clock.nowMs()
    // An entry stays until one CRL was issued after its certificate expired: kept for a CRL lifetime longer. RFC 5280 §5
    const [issuer] = authority.issuers
    const entries = await certificates.revoked(issuer.keyId, nowMs, config.crlLifetimeMs)
    const number = await this.#nextNumber(nowMs)
    const content = { number, thisUpdateMs: nowMs, nextUpdateMs: nowMs + config.crlLifetimeMs, entries }
    const crl = { der: await authority.signCrl(content, issuer), number, thisUpdateMs: nowMs, nextUpdateMs: content.nextUpdateMs }
    this.#current = { crl, revision }
    log.info({ number, entries: entries.length }, 'CRL signed')
    return crl
  }

  /**
   * One more than the last, at least the epoch second, and durable before it is used: so it grows even if the documents were lost while
   * the CA was kept. RFC 5280 §5.2.3
   */
  async #nextNumber(nowMs: number): Promise<number> {
    const numbers = this.#numbers
    if (numbers === undefined) throw new InternalError('the revocation list is used before its start or after its stop')
    for (;;) {
      const last = await numbers.get(NUMBER_ID)
      const number = Math.max((last?.number ?? 0) + 1, Math.floor(nowMs / 1_000))
      const result =
        last === null ? await numbers.insert(NUMBER_ID, { number }) : await numbers.replace(NUMBER_ID, last.version, { number })
      if (result.status === 'written') return number
    }
  }
}
