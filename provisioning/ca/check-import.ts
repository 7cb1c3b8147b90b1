import type { KeyObject, X509Certificate } from 'node:crypto'
import { InvalidInputError } from '../../kernel/errors.ts'
import { caOf } from './issuing-ca.ts'
import { parseCertificates, type Pki } from './load-pki.ts'
import { x509 } from './x509.ts'

/** An issuing CA that was signed elsewhere, and how it leads to its root. */
export interface CheckedImport {
  /** Whose key it certifies. */
  requestId: string
  certificate: X509Certificate
  /** CAs between it and the root, nearest first. */
  chain: X509Certificate[]
  root: { status: 'known'; id: string } | { status: 'new'; certificate: X509Certificate }
}

/** CAs between an issuing CA and its root: more than anyone uses, few enough for every handshake to carry. */
const CHAIN_MAX = 3
const DIGESTS = new Set(['SHA-256', 'SHA-384', 'SHA-512'])

/**
 * Checks what an import brings against RFC 5280: §4.2.1.9 (a CA, path length), §4.2.1.3 (may sign certificates and CRLs), §4.2.1.2 (has a
 * key identifier), §4.1.2.6 (named), §6.1 (each signed by the next, none expired). Throws InvalidInputError for the first that fails.
 */
export function checkImport(
  pem: string,
  against: { requests: readonly { id: string; publicKey: KeyObject }[]; pki: Pick<Pki, 'roots' | 'issuers'>; nowMs: number },
): CheckedImport {
  const given = parsed(pem)
  const { pki, requests, nowMs } = against
  const found = given.flatMap((certificate) => {
    const request = requests.find(({ publicKey }) => certificate.publicKey.equals(publicKey))
    return request === undefined ? [] : [{ certificate, requestId: request.id }]
  })[0]
  if (found === undefined) throw refused('none of the certificates is for a key that was requested here')
  const { certificate, requestId } = found
  checkCa(certificate, nowMs)
  if (certificate.checkIssued(certificate)) throw refused('it is self-signed: an issuing CA is signed by a root')
  const { keyId, name } = caOf(certificate)
  if ([...pki.roots, ...pki.issuers].some((ca) => ca.keyId === keyId || ca.name.equals(name))) {
    throw refused(`a CA named ${nameOf(certificate)} or with its key is here already, and issuer and serial must name one certificate`)
  }
  const { chain, root } = pathOf(certificate, given, pki)
  for (const [depth, above] of [...chain, root.certificate].entries()) {
    checkCa(above, nowMs)
    const allowed = pathLengthOf(above)
    if (allowed !== undefined && depth > allowed - 1) throw refused(`${nameOf(above)} allows no more than ${allowed} CAs below it`)
  }
  return {
    requestId,
    certificate,
    chain,
    root: root.id === undefined ? { status: 'new', certificate: root.certificate } : { status: 'known', id: root.id },
  }
}

/** Upwards from the issuing CA to a root that is known here, or to a self-signed one that was given. */
function pathOf(
  certificate: X509Certificate,
  given: readonly X509Certificate[],
  pki: Pick<Pki, 'roots'>,
): { chain: X509Certificate[]; root: { id?: string; certificate: X509Certificate } } {
  const chain: X509Certificate[] = []
  for (let below = certificate; ;) {
    const signed = (above: X509Certificate): boolean => below.checkIssued(above) && below.verify(above.publicKey)
    const known = pki.roots.find((root) => signed(root.certificate))
    if (known !== undefined) return { chain, root: known }
    const above = given.find((candidate) => candidate !== below && signed(candidate))
    if (above === undefined) throw refused(`the certificate that signed ${nameOf(below)} is missing: give the whole chain up to its root`)
    if (above.verify(above.publicKey)) return { chain, root: { certificate: above } }
    if (chain.length === CHAIN_MAX) throw refused(`more than ${CHAIN_MAX} CAs lie between it and its root`)
    chain.push(above)
    below = above
  }
}

function checkCa(certificate: X509Certificate, nowMs: number): void {
  const name = nameOf(certificate)
  const details = new x509.X509Certificate(certificate.raw)
  if (certificate.subject === '' || certificate.subject === undefined) throw refused('a CA has no name')
  if (!certificate.ca) throw refused(`${name} is not a CA (basicConstraints)`)
  const usages = details.getExtension(x509.KeyUsagesExtension)?.usages
  const { cRLSign, keyCertSign } = x509.KeyUsageFlags
  const wanted = keyCertSign | cRLSign
  if (usages === undefined || (usages & wanted) !== wanted) throw refused(`${name} may not sign certificates and CRLs (keyUsage)`)
  if (details.getExtension(x509.SubjectKeyIdentifierExtension) === null) throw refused(`${name} has no subject key identifier`)
  const { hash } = details.signatureAlgorithm as { hash?: { name?: string } }
  if (!DIGESTS.has(hash?.name ?? '')) throw refused(`${name} is signed with another digest than SHA-256, SHA-384 or SHA-512`)
  if (Date.parse(certificate.validFrom) > nowMs) throw refused(`${name} is not valid before ${certificate.validFrom}`)
  if (Date.parse(certificate.validTo) <= nowMs) throw refused(`${name} expired on ${certificate.validTo}`)
}

function pathLengthOf(certificate: X509Certificate): number | undefined {
  return new x509.X509Certificate(certificate.raw).getExtension(x509.BasicConstraintsExtension)?.pathLength
}

function parsed(pem: string): X509Certificate[] {
  try {
    return parseCertificates(pem)
  } catch (error) {
    throw new InvalidInputError('The certificate cannot be imported: it is not PEM text of one or more certificates.', { cause: error })
  }
}

function nameOf(certificate: X509Certificate): string {
  return `"${certificate.subject.replaceAll('\n', ', ').slice(0, 200)}"`
}

function refused(problem: string): InvalidInputError {
  return new InvalidInputError(`The certificate cannot be imported: ${problem}.`)
}
