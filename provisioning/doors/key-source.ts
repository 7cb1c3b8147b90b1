import { generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import type { ProvisioningConfig } from '../config.ts'
import type { EnrolmentConfig, KeyType } from './config.ts'
import { checkCsr, readCsrNames, type CsrNames, type CsrRefusal } from './csr.ts'

const generate = promisify(generateKeyPair)

/** Who makes the key: the device, which proves that it holds it, or we (EST serverkeygen), where its type was chosen for that. */
export type KeyMaker = 'device' | 'server'

export type KeyRefusal = CsrRefusal | 'key-generation-off'

/** A request whose key may be certified. */
export type KeyRequest =
  { status: 'fine'; names: CsrNames; publicKey: Buffer | null } | { status: 'refused'; reason: KeyRefusal; detail: string }

export interface MadeKey {
  /** DER SubjectPublicKeyInfo. */
  publicKey: Buffer
  /** DER PKCS#8; goes to the device and nowhere else. */
  privateKey: Buffer
}

/** The keys that devices of a type may use; undefined: any that is strong enough. */
export function allowedKeys({ csrKeys }: Pick<EnrolmentConfig, 'csrKeys'>, type: string): readonly KeyType[] | undefined {
  return (Object.hasOwn(csrKeys, type) ? csrKeys[type] : undefined) ?? csrKeys['*']
}

/** Are keys for devices of this type made here? */
export function makesKeys({ serverKeygenTypes }: Pick<EnrolmentConfig, 'serverKeygenTypes'>, type: string): boolean {
  return serverKeygenTypes.includes(type) || serverKeygenTypes.includes('*')
}

/** Reads a request of a device of this type: shape, proof of possession, strength, and the kinds of key allowed to its type. Never throws. */
export function readKeyRequest(
  csrDer: Uint8Array,
  maker: KeyMaker,
  type: string,
  configs: { config: ProvisioningConfig; enrolmentConfig: EnrolmentConfig },
): KeyRequest {
  if (maker === 'server') {
    if (!makesKeys(configs.enrolmentConfig, type)) {
      return {
        status: 'refused',
        reason: 'key-generation-off',
        detail: `keys of devices of type ${type} are not made here (serverKeygenTypes)`,
      }
    }
    const read = readCsrNames(csrDer)
    return read.status === 'refused' ? read : { status: 'fine', names: read.names, publicKey: null }
  }
  const check = checkCsr(csrDer, configs.config)
  if (check.status === 'refused') return check
  const { publicKey, keyType, commonNames, alternativeNames } = check.csr
  const allowed: readonly string[] | undefined = allowedKeys(configs.enrolmentConfig, type)
  if (allowed !== undefined && !allowed.includes(keyType)) {
    return {
      status: 'refused',
      reason: 'key-not-allowed',
      detail: `a key of kind ${keyType} is not accepted from type ${type}; allowed: ${allowed.join(', ')}`,
    }
  }
  return { status: 'fine', names: { commonNames, alternativeNames }, publicKey }
}

/** A new key of a kind. */
export async function makeKey(type: KeyType): Promise<MadeKey> {
  const { publicKey, privateKey } = await newPair(type)
  return {
    publicKey: publicKey.export({ format: 'der', type: 'spki' }),
    privateKey: privateKey.export({ format: 'der', type: 'pkcs8' }),
  }
}

function newPair(type: KeyType): Promise<{ publicKey: KeyObject; privateKey: KeyObject }> {
  const [family, size] = type.split('-') as [string, string]
  return family === 'RSA' ? generate('rsa', { modulusLength: Number(size) }) : generate('ec', { namedCurve: type })
}
