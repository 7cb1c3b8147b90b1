import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import type { CrlReason } from '../../contracts/certificate.ts'
import { ConflictError, describeError, InvalidInputError, NotFoundError } from '../../kernel/errors.ts'
import { writeFileAtomically } from '../../kernel/files.ts'
import type { AuthorityWorkshop } from './authority-workshop.ts'
import type { CertificateAuthority } from './authority.ts'
import { checkImport, type CheckedImport } from './check-import.ts'
import { encodeCaRequest } from './ca-request.ts'
import { currentOf, isLive, type IssuingCa } from './issuing-ca.ts'
import { caName, signIssuing } from './make-pki.ts'
import { nextId, writeRegister, type Register } from './register.ts'
import { withCrl, withNewCrl } from './root-crl-renewal.ts'
import { readRootCrl } from './root-crl.ts'

/** Keys waiting for a certificate at once. */
const REQUESTS_MAX = 8
/** CAs, retired ones included: ten years of yearly changes, twice. */
const ISSUERS_MAX = 20

/** How the set of CAs changes: one by one, each real when the register is written. */
export class AuthorityChanges {
  readonly #authority: CertificateAuthority
  readonly #crossOverDelayMs: number

  constructor(authority: CertificateAuthority, options: { crossOverDelayMs: number }) {
    this.#authority = authority
    this.#crossOverDelayMs = options.crossOverDelayMs
  }

  /** A new key and a PKCS#10 request for it, to be signed elsewhere; PEM. Throws ConflictError when too many wait. */
  request(): Promise<{ id: string; csrPem: string }> {
    return this.#authority.change(async ({ pki, keys, nowMs }) => {
      const { folder, register } = pki
      if (register.requests.length >= REQUESTS_MAX) {
        throw new ConflictError(`${REQUESTS_MAX} requests wait for a certificate already`, {
          remedy: 'Import the certificate of one of them.',
        })
      }
      checkRoom(register)
      const id = nextId(register, 'issuing')
      const { ref, signer } = await keys.make(id, register.mark)
      const csrPem = await encodeCaRequest(signer, caName(titleOf(id), register.mark))
      await writeFileAtomically(join(folder, `${id}.csr`), csrPem, 0o644)
      await writeRegister(folder, { ...register, requests: [...register.requests, { id, key: ref, requestedAtMs: nowMs }] })
      return { id, csrPem }
    })
  }

  /**
   * Takes a certificate for one of the requests, with the CAs above it up to a root that is in `pem` too or known already. Throws
   * InvalidInputError saying what does not fit.
   */
  import(pem: string): Promise<{ id: string; issuesFromMs: number }> {
    return this.#authority.change(async (workshop) => {
      const { pki, keys, nowMs } = workshop
      const { folder, register } = pki
      const keysOfRequests = await Promise.all(
        register.requests.map(async (request) => ({ request, signer: await keys.open(request.key) })),
      )
      const checked = checkImport(pem, {
        requests: keysOfRequests.map(({ request, signer }) => ({ id: request.id, publicKey: signer.publicKey })),
        pki,
        nowMs,
      })
      const request = register.requests.find(({ id }) => id === checked.requestId)
      if (request === undefined) throw new NotFoundError(`There is no request ${checked.requestId}.`)
      const { next, rootId } = await withRoot(folder, register, checked)
      await writeCertificates(folder, request.id, [checked.certificate, ...checked.chain])
      const issuesFromMs = nowMs + this.#crossOverDelayMs
      await writeRegister(folder, {
        ...next,
        issuers: [...next.issuers, { id: request.id, root: rootId, key: request.key, issuesFromMs, retired: null }],
        requests: next.requests.filter(({ id }) => id !== request.id),
      })
      return { id: request.id, issuesFromMs }
    })
  }

  /** A new issuing CA below our own root, which begins to sign after the cross-over delay. Throws ConflictError when no root key is here. */
  roll(): Promise<{ id: string; issuesFromMs: number }> {
    return this.#authority.change(async ({ pki, keys, profile, nowMs }) => {
      const { folder, register } = pki
      checkRoom(register)
      const root = pki.roots.findLast(({ key, notAfterMs }) => key !== undefined && notAfterMs > nowMs)
      if (root?.key === undefined) {
        throw new ConflictError('The key of the root CA is not here, so it cannot sign an issuing CA.', {
          remedy: 'Use `fleetpulse ca request`, have the request signed where the root is, and `fleetpulse ca import` the certificate.',
        })
      }
      const id = nextId(register, 'issuing')
      const { ref, signer } = await keys.make(id, register.mark)
      const subject = caName(titleOf(id), register.mark)
      const signed = await signIssuing({ ...root, key: root.key }, signer.publicKey, subject, profile, nowMs)
      await writeCertificates(folder, id, [new X509Certificate(signed.der)])
      const issuesFromMs = nowMs + this.#crossOverDelayMs
      const entry = { id, root: root.id, key: ref, issuesFromMs, retired: null }
      await writeRegister(folder, { ...register, issuers: [...register.issuers, entry] })
      return { id, issuesFromMs }
    })
  }

  /**
   * Nothing that it signed is accepted from now on; our root's CRL says so. Throws NotFoundError, and ConflictError for the CA that signs
   * now. That nobody needs its certificates any more is the caller's to know. Retiring again changes nothing.
   */
  retire(id: string, reason: CrlReason): Promise<void> {
    return this.#authority.change(async (workshop) => {
      const { pki, nowMs } = workshop
      const ca = retirable(pki.issuers, id, nowMs)
      if (ca.retired !== null) return
      const issuers = pki.register.issuers.map((entry) => (entry.id === id ? { ...entry, retired: { atMs: nowMs, reason } } : entry))
      await writeRegister(pki.folder, await withNewCrl(workshop, ca.root, { ...pki.register, issuers }))
    })
  }

  /** Throws as `retire` would. */
  checkRetirable(id: string, nowMs: number): IssuingCa {
    return retirable(this.#authority.issuers, id, nowMs)
  }

  /** A CRL of a root whose key is elsewhere; PEM or DER in base64. Throws InvalidInputError, ConflictError. */
  importRootCrl(content: string): Promise<{ root: string; number: number }> {
    return this.#authority.change(async ({ pki, nowMs }) => {
      const { crl, root } = findRootOf(content, pki.roots)
      if (root.key !== undefined) throw new ConflictError(`The CRL of ${root.id} is signed here, where its key is.`)
      if (root.crl !== undefined && crl.thisUpdateMs <= root.crl.thisUpdateMs)
        throw new InvalidInputError('The CRL is not newer than the one that is here.')
      if (crl.nextUpdateMs <= nowMs) throw new InvalidInputError('The CRL is out of date: its next update is over.')
      const listed = pki.issuers.find(
        (ca) => isLive(ca, nowMs) && ca.root.id === root.id && crl.serials.includes(ca.certificate.serialNumber),
      )
      if (listed !== undefined) {
        throw new ConflictError(`The CRL revokes ${listed.id}, which is in use.`, {
          remedy: `Retire it first: fleetpulse ca retire ${listed.id}`,
        })
      }
      await writeRegister(pki.folder, await withCrl(pki.folder, root.id, crl, pki.register))
      return { root: root.id, number: crl.number }
    })
  }
}

function retirable(issuers: readonly IssuingCa[], id: string, nowMs: number): IssuingCa {
  const ca = issuers.find((candidate) => candidate.id === id)
  if (ca === undefined) throw new NotFoundError(`There is no issuing CA "${id.slice(0, 64)}".`)
  if (ca.retired === null && isLive(ca, nowMs) && currentOf(issuers, nowMs)?.id === id) {
    throw new ConflictError(`${id} signs the certificates of now and cannot be retired.`, {
      remedy: 'Make another one first (`fleetpulse ca roll` or `ca import`), and wait until it signs.',
    })
  }
  return ca
}

function findRootOf(content: string, roots: AuthorityWorkshop['pki']['roots']) {
  let refusal = new InvalidInputError('The CRL is of no root that is known here.')
  for (const root of roots) {
    try {
      return { root, crl: readRootCrl(content, root) }
    } catch (error) {
      if (!(error instanceof InvalidInputError))
        throw new InvalidInputError(`The CRL cannot be read: ${describeError(error)}.`, { cause: error })
      refusal = error
    }
  }
  throw refusal
}

function checkRoom(register: Register): void {
  if (register.issuers.length + register.requests.length < ISSUERS_MAX) return
  throw new ConflictError(`There are ${ISSUERS_MAX} issuing CAs already, retired ones included.`)
}

/** The register with the root of an import, whose certificate is written if it is new. */
async function withRoot(folder: string, register: Register, { root }: CheckedImport): Promise<{ next: Register; rootId: string }> {
  if (root.status === 'known') return { next: register, rootId: root.id }
  const rootId = nextId(register, 'root')
  await writeCertificates(folder, rootId, [root.certificate])
  return { next: { ...register, roots: [...register.roots, { id: rootId, key: null, crlNumber: 0 }] }, rootId }
}

async function writeCertificates(folder: string, id: string, certificates: readonly X509Certificate[]): Promise<void> {
  await writeFileAtomically(join(folder, `${id}.crt`), certificates.map((certificate) => certificate.toString()).join(''), 0o644)
}

/** `Issuing 2` for `issuing-2`. */
function titleOf(id: string): string {
  return id.replace('issuing', 'Issuing').replace('-', ' ')
}
