import type { X509Certificate } from 'node:crypto'
import type { CrlReason } from '../../contracts/certificate.ts'
import { keyIdentifierOf } from './extensions.ts'
import type { Signer } from './keys/key-store.ts'
import { subjectOf } from './sign-certificate.ts'

/** What any CA is, to those that it signs for. */
interface Ca {
  readonly certificate: X509Certificate
  /** DER Name, as its own certificate spells it: names are compared byte for byte. RFC 5280 §7.1 */
  readonly name: Buffer
  /** Subject key identifier, lower-case hex: certificates carry it as authority key identifier, their records as `issuer`. */
  readonly keyId: string
  /** Last moment at which it is valid, epoch ms. */
  readonly notAfterMs: number
}

/** A trust anchor. Its key may be kept elsewhere. */
export interface RootCa extends Ca {
  /** `root`, `root-2`, … */
  readonly id: string
  readonly key: Signer | undefined
  /** Made here: it signs nothing but our issuing CAs. */
  readonly isOurs: boolean
  /** The CRL of what it signed: our issuing CAs. Absent until it was given, where the key is elsewhere. */
  readonly crl: HeldCrl | undefined
}

/** A signed CRL as it is handed out. */
export interface HeldCrl {
  der: Buffer
  number: number
  thisUpdateMs: number
  nextUpdateMs: number
}

/** A CA of ours that signs leaves, CRLs and OCSP answers. There may be several at once. */
export interface IssuingCa extends Ca {
  /** Names it within this installation, and in the addresses of its CRL: `issuing`, `issuing-2`, … */
  readonly id: string
  readonly key: Signer
  readonly root: RootCa
  /** CAs between it and its root, nearest first. */
  readonly chain: readonly X509Certificate[]
  /** From then on it signs new certificates, epoch ms. */
  readonly issuesFromMs: number
  /** Since when nothing that it signed is accepted any more; its CRL is kept up. */
  readonly retired: { readonly atMs: number; readonly reason: CrlReason } | null
}

export function caOf(certificate: X509Certificate): Ca {
  const name = Buffer.from(subjectOf(certificate).toArrayBuffer())
  return { certificate, name, keyId: keyIdentifierOf(certificate), notAfterMs: Date.parse(certificate.validTo) }
}

/** PEM of a CA and those between it and its root: what goes behind a leaf. */
export function chainPem(ca: IssuingCa): string {
  return [ca.certificate, ...ca.chain].map((certificate) => certificate.toString()).join('')
}

/** May what it signed be accepted at `nowMs`? */
export function isLive(ca: IssuingCa, nowMs: number): boolean {
  return (ca.retired === null || ca.retired.atMs > nowMs) && ca.notAfterMs > nowMs
}

/** Who signs new certificates: the newest whose time has come; before any has, the oldest. Undefined when none is live. */
export function currentOf(issuers: readonly IssuingCa[], nowMs: number): IssuingCa | undefined {
  const live = issuers.filter((ca) => isLive(ca, nowMs))
  return live.findLast((ca) => ca.issuesFromMs <= nowMs) ?? live[0]
}

/**
 * Who signs our own server certificates: the current CA, when every device that is still accepted knows its root; otherwise the oldest live
 * one, whose root all of them learned when they were enrolled.
 */
export function serverIssuerOf(issuers: readonly IssuingCa[], nowMs: number): IssuingCa | undefined {
  const live = issuers.filter((ca) => isLive(ca, nowMs))
  const current = currentOf(issuers, nowMs)
  return live.every((ca) => ca.root.id === current?.root.id) ? current : live[0]
}
