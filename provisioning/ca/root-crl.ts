import { verify } from 'node:crypto'
import { InvalidInputError } from '../../kernel/errors.ts'
import { encodeCrl } from './crl.ts'
import { sequenceAt } from './der.ts'
import type { HeldCrl, IssuingCa, RootCa } from './issuing-ca.ts'
import type { Signer } from './keys/key-store.ts'
import { normaliseSerial } from '../../contracts/certificate.ts'
import { x509 } from './x509.ts'

/** What the CRL of a root lists: the issuing CAs below it that were retired. RFC 5280 §5; with it `openssl verify -crl_check_all` works. */
export async function signRootCrl(
  root: Pick<RootCa, 'name' | 'keyId'> & { key: Signer },
  retired: readonly IssuingCa[],
  times: { nowMs: number; lifetimeMs: number; lastNumber: number },
): Promise<HeldCrl> {
  const { nowMs, lifetimeMs, lastNumber } = times
  const content = {
    // Grows even if the register was lost while the CA was kept. §5.2.3
    number: Math.max(lastNumber + 1, Math.floor(nowMs / 1_000)),
    thisUpdateMs: nowMs,
    nextUpdateMs: nowMs + lifetimeMs,
    entries: retired.flatMap(({ certificate, retired: retirement }) =>
      retirement === null ? [] : [{ serial: certificate.serialNumber, revokedAtMs: retirement.atMs, reason: retirement.reason }],
    ),
  }
  const { number, thisUpdateMs, nextUpdateMs } = content
  return { der: await encodeCrl(content, root), number, thisUpdateMs, nextUpdateMs }
}

const DIGESTS = new Map([
  ['SHA-256', 'sha256'],
  ['SHA-384', 'sha384'],
  ['SHA-512', 'sha512'],
])

/** A CRL that was signed elsewhere: issuer and signature checked. `serials` are upper-case hex. Throws InvalidInputError saying what is wrong. */
export function readRootCrl(content: string | Uint8Array, root: Pick<RootCa, 'certificate' | 'name'>): HeldCrl & { serials: string[] } {
  const parsed = parseCrl(content)
  const der = Buffer.from(parsed.rawData)
  const { name, hash } = parsed.signatureAlgorithm as { name?: string; hash?: { name?: string } }
  const digest = DIGESTS.get(hash?.name ?? '')
  if (digest === undefined) throw refused(`is signed with ${name ?? 'an unknown algorithm'}, not with SHA-256, SHA-384 or SHA-512`)
  const information = sequenceAt(der, sequenceAt(der, 0).contentStart)
  const signed = der.subarray(information.start, information.end)
  const issuer = Buffer.from(parsed.issuerName.toArrayBuffer())
  if (!issuer.equals(root.name) || !verify(digest, signed, root.certificate.publicKey, Buffer.from(parsed.signature)))
    throw refused(`was not signed by ${root.certificate.subject.replaceAll('\n', ', ')}`)
  if (parsed.nextUpdate === undefined) throw refused('names no time of its next update (RFC 5280 §5.1.2.5)')
  return {
    der,
    number: numberOf(parsed),
    thisUpdateMs: parsed.thisUpdate.getTime(),
    nextUpdateMs: parsed.nextUpdate.getTime(),
    serials: parsed.entries.map((entry) => normaliseSerial(entry.serialNumber) ?? ''),
  }
}

function parseCrl(content: string | Uint8Array): InstanceType<typeof x509.X509Crl> {
  try {
    return new x509.X509Crl(content)
  } catch (error) {
    throw new InvalidInputError('The CRL cannot be read: it is neither PEM nor DER of an X.509 CRL.', { cause: error })
  }
}

/** CRLNumber, RFC 5280 §5.2.3; 0 where it is absent. */
function numberOf(crl: InstanceType<typeof x509.X509Crl>): number {
  const extension = crl.extensions.find(({ type }) => type === '2.5.29.20')
  if (extension === undefined) return 0
  const integer = Buffer.from(extension.value)
  const number = Number(BigInt(`0x${integer.subarray(2).toString('hex')}`))
  return Number.isSafeInteger(number) ? number : 0
}

function refused(problem: string): InvalidInputError {
  return new InvalidInputError(`The CRL ${problem}.`)
}
