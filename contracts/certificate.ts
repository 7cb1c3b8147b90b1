import { createHash } from 'node:crypto'
import { Type, type Static } from 'typebox'

/** Name of the documents collection; the id of a document is its serial. */
export const CERTIFICATES_COLLECTION = 'certificates'

/**
 * Why a certificate may be revoked: CRLReason names and their codes, RFC 5280 §5.3.1. `removeFromCRL` (8) is absent on purpose:
 * it belongs in delta CRLs and ends a hold, it is not a reason to revoke.
 */
export const CRL_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  certificateHold: 6,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const
export type CrlReason = keyof typeof CRL_REASONS

/**
 * How far the renewal of a certificate is. `new`: nobody has looked at it yet; `watched`; `due`: its device was told; `late` and `ended`:
 * there is an alert; `closed`: renewed, revoked, or of a device that has left.
 */
export const RotationSchema = Type.Object({
  stage: Type.Union([
    Type.Literal('new'),
    Type.Literal('watched'),
    Type.Literal('due'),
    Type.Literal('late'),
    Type.Literal('ended'),
    Type.Literal('closed'),
  ]),
  lookAt: Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms at which the next step is due; null when none is' }),
  usedAt: Type.Union([Type.Integer(), Type.Null()], { description: 'epoch ms of its first use' }),
  settled: Type.Boolean({ description: 'the certificate that it replaces is revoked, or there is none' }),
  alarms: Type.Integer({ description: 'alerts raised so far' }),
})
export type Rotation = Static<typeof RotationSchema>

/** A certificate that was issued; kept after it expired, for the record. */
export const CertificateRecordSchema = Type.Object({
  serial: Type.String({ description: 'upper-case hex without separators, as openssl prints it' }),
  issuer: Type.String({
    description: 'subject key identifier of the CA that signed it, lower-case hex; with the serial it names one certificate',
  }),
  tenant: Type.String(),
  device: Type.String(),
  state: Type.Union([Type.Literal('valid'), Type.Literal('revoked')]),
  notBefore: Type.Integer({ description: 'epoch ms' }),
  notAfter: Type.Integer({ description: 'epoch ms, inclusive; past it the certificate is expired whatever its state' }),
  issuedAt: Type.Integer({ description: 'epoch ms' }),
  revokedAt: Type.Union([Type.Integer(), Type.Null()]),
  reason: Type.Union([Type.String(), Type.Null()], { description: 'CRLReason name of RFC 5280 §5.3.1' }),
  revokedBy: Type.Optional(Type.String({ description: '`user:NAME`, `device:ID` or `system`' })),
  /** True once the `certificate-revoked` event is in the log; a revocation cut short by a crash is announced at the next start. */
  announced: Type.Boolean(),
  /** Revoked, and the device had no other valid certificate when it was. */
  isLast: Type.Optional(Type.Boolean()),
  pem: Type.String({ description: 'the leaf alone' }),
  door: Type.String({ description: 'how it was asked for: est-token, est-certificate, …' }),
  replaces: Type.Optional(Type.Union([Type.String(), Type.Null()], { description: 'serial of the certificate that it renews' })),
  rotation: Type.Optional(RotationSchema),
  /** What let the device in, where that can be taken away: `factory:ID` or `claim:ID`. */
  via: Type.Optional(Type.String()),
  /** Serial in hex as its own CA wrote it, for a certificate that we did not issue: `serial` is then the beginning of its SHA-256. */
  foreignSerial: Type.Optional(Type.String()),
})
export type CertificateRecord = Static<typeof CertificateRecordSchema>

const serialExpression = /^[0-9A-F]{1,40}$/

/** The one written form of a serial from any case, with or without colons or leading zero bytes; undefined when it is not one. */
export function normaliseSerial(text: string): string | undefined {
  const bare = text.replaceAll(':', '').toUpperCase()
  const even = bare.length % 2 === 1 ? `0${bare}` : bare
  if (!serialExpression.test(even)) return undefined
  const trimmed = even.replace(/^(?:00)+/, '')
  return trimmed === '' ? '00' : trimmed
}

/**
 * Under which serial a certificate that we did not issue is on record: foreign CAs number as they like, so it is made of the certificate, 160
 * bits of its SHA-256 (a serial has at most so many).
 */
export function foreignCertificateKey(der: Uint8Array): string {
  const key = createHash('sha256').update(der).digest('hex').slice(0, 40).toUpperCase()
  return normaliseSerial(key) ?? key
}

/**
 * Are these one certificate? Issuer and serial name it, RFC 5280 §4.1.2.2; where one side does not know the issuer, the serial alone decides,
 * so that what may be revoked is held to be so.
 */
export function isSameCertificate(
  one: { serial?: string | undefined; issuer?: string | undefined },
  other: { serial: string; issuer?: string | undefined },
): boolean {
  return one.serial === other.serial && (one.issuer === undefined || other.issuer === undefined || one.issuer === other.issuer)
}
