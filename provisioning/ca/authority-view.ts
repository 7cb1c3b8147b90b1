import type { CertificateAuthority } from './authority.ts'
import type { IssuingCa, RootCa } from './issuing-ca.ts'
import { keyAlgorithmOf } from './keys/signature-algorithm.ts'

/** What anyone may know of a CA of ours. Times are epoch ms. */
export interface AuthorityFacts {
  /** `root`, `issuing`, `issuing-2`, … */
  id: string
  role: 'root' | 'issuing'
  subject: string
  /** Upper-case hex. */
  serial: string
  /** Subject key identifier, lower-case hex; records of certificates name it as `issuer`. */
  keyId: string
  /** For instance `ecdsa-p256`; of a root of others it may be any. */
  algorithm: string
  /** Where its key lies; `elsewhere`: it is an offline one. */
  key: 'file' | 'pkcs11' | 'elsewhere'
  notBefore: number
  notAfter: number
  /** Of an issuing CA: the root above it, and from when on it signs. */
  root?: string
  issuesFrom?: number
  retiredAt?: number
  retiredReason?: string
  /** Of a root: its CRL. */
  crl?: { number: number; thisUpdate: number; nextUpdate: number }
  pem: string
}

/** A key that waits for its certificate, which is signed elsewhere. */
export interface AuthorityRequest {
  id: string
  requestedAt: number
}

/** Roots first, each oldest first. */
export function factsOf(authority: CertificateAuthority): AuthorityFacts[] {
  const { roots, issuers } = authority
  const keys = new Map([...authority.register.roots, ...authority.register.issuers].map(({ id, key }) => [id, key?.store]))
  return [
    ...roots.map((root) => ({ ...common(root, 'root', root.key === undefined ? undefined : keys.get(root.id)), ...crlOf(root) })),
    ...issuers.map((ca) => ({
      ...common(ca, 'issuing', keys.get(ca.id)),
      root: ca.root.id,
      issuesFrom: ca.issuesFromMs,
      ...(ca.retired === null ? {} : { retiredAt: ca.retired.atMs, retiredReason: ca.retired.reason }),
    })),
  ]
}

/** `coming`: trusted, signs from `issuesFrom` on. `issuing`: signs new certificates. `accepted`: what it signed is good. Of roots: is the key here? */
export type AuthorityState = 'online' | 'offline' | 'coming' | 'issuing' | 'accepted' | 'retired' | 'expired'

/** Which of them signs changes by itself with time. */
export function stateOf(facts: AuthorityFacts, all: readonly AuthorityFacts[], nowMs: number): AuthorityState {
  if (facts.retiredAt !== undefined && facts.retiredAt <= nowMs) return 'retired'
  if (facts.notAfter <= nowMs) return 'expired'
  if (facts.role === 'root') return facts.key === 'elsewhere' ? 'offline' : 'online'
  const live = all.filter((ca) => ca.role === 'issuing' && (ca.retiredAt ?? Infinity) > nowMs && ca.notAfter > nowMs)
  const current = live.findLast((ca) => (ca.issuesFrom ?? 0) <= nowMs) ?? live[0]
  if (current?.id === facts.id) return 'issuing'
  return (facts.issuesFrom ?? 0) > nowMs ? 'coming' : 'accepted'
}

function common(ca: IssuingCa | RootCa, role: AuthorityFacts['role'], store: 'file' | 'pkcs11' | undefined): AuthorityFacts {
  const { certificate, id, keyId } = ca
  return {
    id,
    role,
    subject: certificate.subject.replaceAll('\n', ', '),
    serial: certificate.serialNumber,
    keyId,
    algorithm: algorithmOf(ca),
    key: store ?? 'elsewhere',
    notBefore: Date.parse(certificate.validFrom),
    notAfter: ca.notAfterMs,
    pem: certificate.toString(),
  }
}

function algorithmOf({ certificate: { publicKey } }: IssuingCa | RootCa): string {
  try {
    return keyAlgorithmOf(publicKey)
  } catch (error) {
    if (error instanceof TypeError) return publicKey.asymmetricKeyType ?? 'unknown'
    throw error
  }
}

function crlOf({ crl }: RootCa): Pick<AuthorityFacts, 'crl'> {
  return crl === undefined ? {} : { crl: { number: crl.number, thisUpdate: crl.thisUpdateMs, nextUpdate: crl.nextUpdateMs } }
}
