import type { Logger } from '../../kernel/log.ts'
import { InternalError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import { deltaCrlPath } from '../ca/extensions.ts'
import type { IssuingCa } from '../ca/issuing-ca.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { ListedSerials } from './listed-serials.ts'

export interface RevocationListOptions {
  documents: Documents
  authority: CertificateAuthority
  certificates: Certificates
  config: ProvisioningConfig
  /** Origin of the listener where delta CRLs are, asked at each signing. */
  pkiUrl: () => string
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

/** What is known of one CA's CRLs. */
interface Lists {
  listed: ListedSerials
  full: { crl: CurrentCrl; revision: number } | undefined
  delta: CurrentCrl | undefined
  signing: Promise<void> | undefined
}

/**
 * The CRLs of our issuing CAs, full and delta, RFC 5280 §5. Signed when they are asked for and something was revoked since, or when more
 * than the configured part of their life is over: so what is handed out is never behind and never about to end, and nobody asking costs
 * nothing. A full and a delta CRL of one number say the same (§5.2.4); the delta builds on the oldest full one that is still in use.
 */
export class RevocationList implements Service {
  readonly name = 'revocation-list'
  readonly #options: RevocationListOptions
  readonly #lists = new Map<string, Lists>()
  #numbers: Collection<CrlNumber> | undefined
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
    await Promise.allSettled([...this.#lists.values()].map(({ signing }) => signing ?? DONE))
    this.#numbers = undefined
    this.#lists.clear()
  }

  /** Another process revoked a certificate: what is held is behind. */
  noteRevocation(): void {
    this.#elsewhere++
  }

  /** The full CRL of a CA that holds every revocation that this process knew of before this call. */
  async current(issuer: IssuingCa = this.#options.authority.issuers[0]): Promise<CurrentCrl> {
    return (await this.#fresh(issuer, 'full')).full
  }

  /** The delta CRL to every full one of this run that is still in use. */
  async delta(issuer: IssuingCa = this.#options.authority.issuers[0]): Promise<CurrentCrl> {
    return (await this.#fresh(issuer, 'delta')).delta
  }

  async #fresh(issuer: IssuingCa, wanted: 'full' | 'delta'): Promise<{ full: CurrentCrl; delta: CurrentCrl }> {
    const lists = this.#listsOf(issuer.id)
    // One signing at a time, however many ask; one that began before the latest revocation is followed by another.
    while (lists.signing !== undefined) await Promise.allSettled([lists.signing])
    const { full, delta } = lists
    if (full !== undefined && delta !== undefined && full.revision === this.#revision) {
      if (!this.#isDue(wanted === 'full' ? full.crl : delta)) return { full: full.crl, delta }
    }
    const signed = this.#sign(issuer, lists)
    lists.signing = signed.then(
      () => (lists.signing = undefined),
      () => (lists.signing = undefined),
    )
    return signed
  }

  #listsOf(issuerId: string): Lists {
    const known = this.#lists.get(issuerId)
    if (known !== undefined) return known
    const lists: Lists = { listed: new ListedSerials(), full: undefined, delta: undefined, signing: undefined }
    this.#lists.set(issuerId, lists)
    return lists
  }

  get #revision(): number {
    return this.#options.certificates.revision + this.#elsewhere
  }

  #isDue({ thisUpdateMs, nextUpdateMs }: CurrentCrl): boolean {
    const nowMs = this.#options.clock.nowMs()
    return nowMs >= thisUpdateMs + (nextUpdateMs - thisUpdateMs) * this.#options.config.crlRefreshAfterFraction || nowMs < thisUpdateMs
  }

  async #sign(issuer: IssuingCa, lists: Lists): Promise<{ full: CurrentCrl; delta: CurrentCrl }> {
    const { authority, certificates, clock, config, log, pkiUrl } = this.#options
    const revision = this.#revision
    const thisUpdateMs = clock.nowMs()
    // An entry stays until one CRL was issued after its certificate expired: kept for a CRL lifetime longer. RFC 5280 §5
    const entries = await certificates.revoked(issuer.keyId, thisUpdateMs, config.crlLifetimeMs)
    const number = await this.#nextNumber(issuer.id, thisUpdateMs)
    const fullNextMs = thisUpdateMs + config.crlLifetimeMs
    const { baseNumber, added } = lists.listed.note(entries, { number, thisUpdateMs, nextUpdateMs: fullNextMs })
    const of = { number, thisUpdateMs }
    const freshestUrl = `${pkiUrl()}${deltaCrlPath(issuer.id)}`
    const full = {
      ...of,
      nextUpdateMs: fullNextMs,
      der: await authority.signCrl({ ...of, nextUpdateMs: fullNextMs, entries, freshestUrl }, issuer),
    }
    const nextUpdateMs = thisUpdateMs + config.crlDeltaLifetimeMs
    const delta = { ...of, nextUpdateMs, der: await authority.signCrl({ ...of, nextUpdateMs, entries: added, baseNumber }, issuer) }
    lists.full = { crl: full, revision }
    lists.delta = delta
    log.info({ issuer: issuer.id, number, entries: entries.length, baseNumber, added: added.length }, 'CRL signed')
    return { full, delta }
  }

  /**
   * One more than the last, at least the epoch second, and durable before it is used: so it grows even if the documents were lost while
   * the CA was kept. RFC 5280 §5.2.3
   */
  async #nextNumber(issuerId: string, nowMs: number): Promise<number> {
    const numbers = this.#numbers
    if (numbers === undefined) throw new InternalError('the revocation list is used before its start or after its stop')
    for (;;) {
      const last = await numbers.get(issuerId)
      const number = Math.max((last?.number ?? 0) + 1, Math.floor(nowMs / 1_000))
      const result = last === null ? await numbers.insert(issuerId, { number }) : await numbers.replace(issuerId, last.version, { number })
      if (result.status === 'written') return number
    }
  }
}

const DONE = Promise.resolve()
