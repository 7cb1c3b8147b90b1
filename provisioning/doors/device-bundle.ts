import { createPublicKey, sign, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomically } from '../../kernel/files.ts'
import { InvalidInputError } from '../../kernel/errors.ts'
import { isDeviceId } from '../../contracts/device.ts'
import { newPrivateKeyPem } from '../ca/ca-key.ts'
import { bitString, explicit, integerFromHex, objectIdentifier, sequence, set, utf8String } from '../ca/der.ts'
import { publicKeyOf } from '../ca/make-pki.ts'
import { toPem } from '../ca/sign-certificate.ts'

/** What a device needs to connect; PEM texts. */
export interface DeviceBundle {
  /** Private key, PKCS#8. It is made here and goes nowhere else. */
  keyPem: string
  /** Leaf and issuing CA. */
  certPem: string
  /** Root and issuing CA: what to trust. */
  caPem: string
}

/** Gets a certificate for a request: over EST (est-client.ts) or by any other door. */
export type Enrol = (csrPem: string) => Promise<Omit<DeviceBundle, 'keyPem'>>

const COMMON_NAME = objectIdentifier('2.5.4.3')
const ECDSA_WITH_SHA256 = sequence(objectIdentifier('1.2.840.10045.4.3.2'))
const VERSION_1 = integerFromHex('00')

/**
 * A new ECDSA P-256 key and a PKCS#10 request signed with it, CN = device id (RFC 2986 §4). Written directly rather than by the
 * certificate library, which takes ten times as long: simulated fleets make thousands.
 */
export async function newDeviceRequest(deviceId: string): Promise<{ keyPem: string; csrPem: string }> {
  if (!isDeviceId(deviceId)) {
    throw new InvalidInputError(`device: "${deviceId.slice(0, 64)}" is not a device id`, { details: { field: 'device' } })
  }
  const keyPem = await newPrivateKeyPem()
  const subject = sequence(set(sequence(COMMON_NAME, utf8String(deviceId))))
  const information = sequence(VERSION_1, subject, publicKeyOf(keyPem), explicit(0, new Uint8Array()))
  const request = sequence(information, ECDSA_WITH_SHA256, bitString(sign('sha256', information, keyPem)))
  return { keyPem, csrPem: toPem('CERTIFICATE REQUEST', request) }
}

/** Makes a key, has it enrolled, and answers everything the device needs, in memory. Throws what `enrol` throws. */
export async function enrolDevice(deviceId: string, enrol: Enrol): Promise<DeviceBundle> {
  const { keyPem, csrPem } = await newDeviceRequest(deviceId)
  const answer = await enrol(csrPem)
  const leaf = new X509Certificate(answer.certPem)
  if (!leaf.publicKey.equals(createPublicKey(keyPem))) {
    throw new InvalidInputError(`the certificate answered for ${deviceId} is for another key`, {
      remedy: 'Enrol again; if it stays so, the server is at fault.',
    })
  }
  return { keyPem, ...answer }
}

/** Writes `key.pem` (mode 0600), `cert.pem` and `ca.pem` into a folder, made if needed (mode 0700). */
export async function writeDeviceBundle(folder: string, bundle: DeviceBundle): Promise<void> {
  await writeFileAtomically(join(folder, 'key.pem'), bundle.keyPem, 0o600)
  await writeFileAtomically(join(folder, 'cert.pem'), bundle.certPem, 0o644)
  await writeFileAtomically(join(folder, 'ca.pem'), bundle.caPem, 0o644)
}

/** Reads what `writeDeviceBundle` wrote; undefined when the folder holds no whole bundle. */
export async function readDeviceBundle(folder: string): Promise<DeviceBundle | undefined> {
  try {
    const [keyPem, certPem, caPem] = await Promise.all(
      ['key.pem', 'cert.pem', 'ca.pem'].map((name) => readFile(join(folder, name), 'utf8')),
    )
    return { keyPem: keyPem as string, certPem: certPem as string, caPem: caPem as string }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
