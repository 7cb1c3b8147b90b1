import { verify, X509Certificate, type KeyObject } from 'node:crypto'
import type { CrlReason } from '../../contracts/certificate.ts'
import type { Actor } from '../../contracts/registrar.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Clock } from '../../kernel/time.ts'
import { keyIdentifierOf } from '../ca/extensions.ts'
import { x509 } from '../ca/x509.ts'
import type { Certificates, StoredCertificate } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import { decodeCrl, type DecodedCrl, type DecodedEntry } from './crl-decode.ts'

/** A CA whose CRLs we act on, and how the certificates that it numbered are found among ours. */
export interface CrlAuthority {
  certificate: X509Certificate
  find(serial: string): Promise<StoredCertificate | null>
}

/** Which CAs an operator of this tenant may bring CRLs of: ours, and those registered with us. */
export type CrlAuthorities = (tenant: string) => Promise<readonly CrlAuthority[]>

export interface CrlImportOptions {
  certificates: Certificates
  authorities: CrlAuthorities
  config: Pick<ProvisioningConfig, 'crlImportBytesMax' | 'backdateMs'>
  clock: Clock
  log: Logger
}

/**
 * What became of an entry. `unknown`: no certificate of this tenant has that serial from that CA. `ignored`: it takes a hold back
 * (removeFromCRL), and what is revoked here stays revoked.
 */
export type EntryOutcome = 'revoked' | 'already-revoked' | 'unknown' | 'ignored'

export interface ImportedEntry {
  serial: string
  reason: string
  outcome: EntryOutcome
  device?: string
}

export interface ImportedCrl {
  /** Subject of the CA that signed it. */
  issuer: string
  number: string | null
  isDelta: boolean
  thisUpdate: number
  nextUpdate: number | null
  /** Its nextUpdate is over: there may be a newer one. What it lists is revoked all the same. */
  isStale: boolean
  summary: Record<EntryOutcome, number>
  entries: ImportedEntry[]
}

/** Entries worked on side by side: their writes share commits. */
const AT_ONCE = 100

/** Digest by signature algorithm; none with SHA-1. RFC 5758 §3.2, RFC 4055 §5, RFC 8410 §3 */
const SIGNATURES: Readonly<Record<string, { keyType: string; digest: string | null }>> = {
  '1.2.840.10045.4.3.2': { keyType: 'ec', digest: 'sha256' },
  '1.2.840.10045.4.3.3': { keyType: 'ec', digest: 'sha384' },
  '1.2.840.10045.4.3.4': { keyType: 'ec', digest: 'sha512' },
  '1.2.840.113549.1.1.11': { keyType: 'rsa', digest: 'sha256' },
  '1.2.840.113549.1.1.12': { keyType: 'rsa', digest: 'sha384' },
  '1.2.840.113549.1.1.13': { keyType: 'rsa', digest: 'sha512' },
  '1.3.101.112': { keyType: 'ed25519', digest: null },
}

/** Revokes what a CRL lists, when a CA signed it that may. Doing it again changes nothing, so that one cut short is simply repeated. */
export class CrlImport {
  readonly #options: CrlImportOptions

  constructor(options: CrlImportOptions) {
    this.#options = options
  }

  /** Largest CRL that is taken, in bytes. */
  get bytesMax(): number {
    return this.#options.config.crlImportBytesMax
  }

  /**
   * `crl` is DER or PEM. Throws InvalidInputError CRL_MALFORMED, CRL_UNTRUSTED or CRL_FROM_THE_FUTURE, with nothing revoked. When a store
   * fails in the middle it throws that: what was revoked stays revoked, and repeating it does the rest.
   */
  async import(tenant: string, crl: Uint8Array, by: Actor): Promise<ImportedCrl> {
    const { clock, config, log } = this.#options
    const decoded = decode(crl)
    const authority = findSigner(decoded, await this.#options.authorities(tenant))
    const nowMs = clock.nowMs()
    if (decoded.thisUpdateMs > nowMs + config.backdateMs) {
      throw new InvalidInputError(`the CRL says that it was issued at ${new Date(decoded.thisUpdateMs).toISOString()}, which is to come`, {
        code: 'CRL_FROM_THE_FUTURE',
        remedy: 'Check the clock of this machine and of the CA.',
      })
    }
    const entries = await this.#revokeAll(tenant, decoded.entries, authority, by)
    const summary: ImportedCrl['summary'] = { revoked: 0, 'already-revoked': 0, unknown: 0, ignored: 0 }
    for (const { outcome } of entries) summary[outcome]++
    const issuer = authority.certificate.subject.replaceAll('\n', ', ')
    log.warn({ tenant, by, issuer, number: decoded.number, ...summary }, 'CRL imported')
    return {
      issuer,
      number: decoded.number ?? null,
      isDelta: decoded.isDelta,
      thisUpdate: decoded.thisUpdateMs,
      nextUpdate: decoded.nextUpdateMs ?? null,
      isStale: decoded.nextUpdateMs !== undefined && decoded.nextUpdateMs < nowMs,
      summary,
      entries,
    }
  }

  async #revokeAll(tenant: string, entries: readonly DecodedEntry[], authority: CrlAuthority, by: Actor): Promise<ImportedEntry[]> {
    const done: ImportedEntry[] = []
    for (let at = 0; at < entries.length; at += AT_ONCE) {
      done.push(...(await Promise.all(entries.slice(at, at + AT_ONCE).map((entry) => this.#revoke(tenant, entry, authority, by)))))
    }
    return done
  }

  async #revoke(tenant: string, { serial, reason }: DecodedEntry, authority: CrlAuthority, by: Actor): Promise<ImportedEntry> {
    if (reason === 'removeFromCRL') return { serial, reason, outcome: 'ignored' }
    const record = await authority.find(serial)
    if (record === null) return { serial, reason, outcome: 'unknown' }
    const { device } = record
    if (record.state === 'revoked' && record.announced) return { serial, reason, outcome: 'already-revoked', device }
    await this.#options.certificates.revoke(tenant, record.serial, reason satisfies CrlReason, by)
    return { serial, reason, outcome: 'revoked', device }
  }
}

function decode(crl: Uint8Array): DecodedCrl {
  try {
    return decodeCrl(toDer(crl))
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new InvalidInputError(`the file is not a CRL that can be acted on: ${error.message}`, {
      code: 'CRL_MALFORMED',
      remedy: 'Send one X.509 CRL in DER or PEM, as openssl crl writes it.',
      cause: error,
    })
  }
}

const PEM = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/

function toDer(crl: Uint8Array): Uint8Array {
  // A SEQUENCE begins with 0x30, PEM with text.
  if (crl[0] === 0x30) return crl
  const base64 = PEM.exec(Buffer.from(crl.buffer, crl.byteOffset, crl.byteLength).toString('latin1'))?.[1]
  if (base64 === undefined) throw new RangeError('neither DER nor PEM of a CRL')
  return Buffer.from(base64, 'base64')
}

/** RFC 5280 §6.3.3 (f), (g): by name, by key, by right, and by signature. */
function findSigner(crl: DecodedCrl, authorities: readonly CrlAuthority[]): CrlAuthority {
  const named = authorities.filter(({ certificate }) => nameOf(certificate).equals(crl.issuer))
  const meant = named.filter(({ certificate }) => crl.authorityKeyId === undefined || keyIdentifierOf(certificate) === crl.authorityKeyId)
  const signer = meant.find(({ certificate }) => maySignCrls(certificate) && isSignedBy(crl, certificate.publicKey))
  if (signer !== undefined) return signer
  const why =
    named.length === 0
      ? 'its issuer is none of our CAs and is not registered'
      : meant.length === 0
        ? 'it was signed with another key than that of the CA it names'
        : 'its signature is not that of the CA it names'
  throw new InvalidInputError(`the CRL is not trusted: ${why}`, {
    code: 'CRL_UNTRUSTED',
    remedy: 'Import CRLs of our own CAs, or register the CA first.',
  })
}

function isSignedBy({ toBeSigned, signature, signatureAlgorithm }: DecodedCrl, key: KeyObject): boolean {
  const algorithm = SIGNATURES[signatureAlgorithm]
  if (algorithm === undefined || algorithm.keyType !== key.asymmetricKeyType) return false
  return verify(algorithm.digest, toBeSigned, key, signature)
}

function nameOf(certificate: X509Certificate): Buffer {
  return Buffer.from(new x509.X509Certificate(certificate.raw).subjectName.toArrayBuffer())
}

/** §4.2.1.3: where the key usage is said, signing CRLs is among it. */
function maySignCrls(certificate: X509Certificate): boolean {
  const usages = new x509.X509Certificate(certificate.raw).getExtension(x509.KeyUsagesExtension)?.usages
  return usages === undefined || (usages & x509.KeyUsageFlags.cRLSign) !== 0
}
