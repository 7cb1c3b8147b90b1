import { createPublicKey, type KeyObject } from 'node:crypto'
import { DEVICE_ID_PATTERN, TENANT_PATTERN } from '../../contracts/device.ts'
import { deviceUri, identityOfUri } from '../../contracts/device-identity.ts'
import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import { daysMs, DEVICE_KEY_TYPES, type ProvisioningConfig } from '../config.ts'

export type DeviceKeyType = (typeof DEVICE_KEY_TYPES)[number]

/** What a certificate of one kind may be; the authority signs nothing outside it. */
export interface CertificateProfile {
  name: 'device' | 'server'
  lifetimeMsMax: number
  keyTypes: readonly DeviceKeyType[]
  rsaBitsMin: number
  rsaBitsMax: number
  /** Extended key usage, by name of RFC 5280 §4.2.1.12. */
  purpose: 'clientAuth' | 'serverAuth'
  /** Subject alternative names, all kinds together. */
  alternativeNamesMax: number
}

/** What is asked of a profile. */
export interface ProfiledRequest {
  /** DER SubjectPublicKeyInfo. */
  publicKey: Uint8Array
  lifetimeMs?: number
  /** Subject alternative names that the certificate would carry. */
  alternativeNames: readonly string[]
  /** Absent: the profile's own. */
  purpose?: string
}

export type ProfileRule = 'key' | 'lifetime' | 'names' | 'purpose'

/** A certificate that its profile does not allow; `details.rule` names what was broken. */
export class ProfileError extends InvalidInputError {
  readonly rule: ProfileRule
  constructor(profile: CertificateProfile['name'], rule: ProfileRule, problem: string) {
    super(`The ${profile} profile refuses the certificate: ${problem}.`, { code: 'PROFILE_REFUSED', details: { profile, rule } })
    this.rule = rule
  }
}

export function deviceProfile(config: ProvisioningConfig): CertificateProfile {
  const { deviceKeyTypes: keyTypes, deviceLifetimeDays, rsaBitsMin, rsaBitsMax } = config
  return {
    name: 'device',
    lifetimeMsMax: daysMs(deviceLifetimeDays),
    keyTypes,
    rsaBitsMin,
    rsaBitsMax,
    purpose: 'clientAuth',
    alternativeNamesMax: 1,
  }
}

/** Local names and 64 configured ones at most. */
const SERVER_NAMES_MAX = 67

export function serverProfile(config: ProvisioningConfig): CertificateProfile {
  const { rsaBitsMin, rsaBitsMax, serverLifetimeDays } = config
  const lifetimeMsMax = daysMs(serverLifetimeDays)
  return {
    name: 'server',
    lifetimeMsMax,
    keyTypes: DEVICE_KEY_TYPES,
    rsaBitsMin,
    rsaBitsMax,
    purpose: 'serverAuth',
    alternativeNamesMax: SERVER_NAMES_MAX,
  }
}

/** Throws ProfileError for the first rule that is broken; answers the lifetime, at most the profile's. */
export function checkProfile(profile: CertificateProfile, request: ProfiledRequest): number {
  const refuse = (rule: ProfileRule, problem: string): ProfileError => new ProfileError(profile.name, rule, problem)
  const weakness = weaknessOf(request.publicKey, profile)
  if (weakness !== undefined) throw refuse('key', weakness)
  const lifetimeMs = request.lifetimeMs ?? profile.lifetimeMsMax
  if (!(lifetimeMs > 0) || lifetimeMs > profile.lifetimeMsMax) {
    throw refuse('lifetime', `it would be valid for ${lifetimeMs} ms; allowed: more than 0, at most ${profile.lifetimeMsMax}`)
  }
  const { purpose = profile.purpose, alternativeNames } = request
  if (purpose !== profile.purpose) throw refuse('purpose', `it would be for ${purpose.slice(0, 64)}; allowed: ${profile.purpose}`)
  if (alternativeNames.length === 0 || alternativeNames.length > profile.alternativeNamesMax) {
    throw refuse(
      'names',
      `it would carry ${alternativeNames.length} subject alternative names; allowed: 1 to ${profile.alternativeNamesMax}`,
    )
  }
  return lifetimeMs
}

const tenantExpression = new RegExp(TENANT_PATTERN)
const deviceExpression = new RegExp(DEVICE_ID_PATTERN)

/**
 * Holds names to the tenant: the one alternative name is the device's URI in its own tenant. A URI name constraint in the CA cannot do
 * it, for `urn:` names have no host (RFC 5280 §4.2.1.10).
 */
export function checkDeviceNames(
  profile: CertificateProfile,
  holder: { tenant: string; device: string },
  asked: readonly string[] = [],
): string {
  const { tenant, device } = holder
  if (!tenantExpression.test(tenant)) throw new ProfileError(profile.name, 'names', `"${tenant.slice(0, 64)}" is not the name of a tenant`)
  if (!deviceExpression.test(device)) throw new ProfileError(profile.name, 'names', `"${device.slice(0, 64)}" is not a device id`)
  const own = deviceUri(tenant, device)
  for (const name of asked) {
    if (name === own) continue
    const other = identityOfUri(name)
    const why = other === undefined ? 'is not a device name' : other.tenant === tenant ? 'is another device' : 'is of another tenant'
    throw new ProfileError(profile.name, 'names', `"${name.slice(0, 128)}" ${why}; allowed: ${own}`)
  }
  return own
}

type KeyRules = Pick<CertificateProfile, 'keyTypes' | 'rsaBitsMin' | 'rsaBitsMax'>

/** RSA exponents of 65537 and above are odd and large enough; beyond 32 bits they only cost (NIST FIPS 186-5 §5.4). */
const RSA_EXPONENT_MIN = 65_537n
const RSA_EXPONENT_MAX = 2n ** 32n - 1n
const CURVES: Readonly<Record<string, DeviceKeyType>> = { prime256v1: 'ecdsa-p256', secp384r1: 'ecdsa-p384' }

/** Why a public key (or its DER SubjectPublicKeyInfo) is not allowed; undefined when it is. */
export function weaknessOf(publicKey: Uint8Array | KeyObject, rules: KeyRules): string | undefined {
  let key: KeyObject
  try {
    key = publicKey instanceof Uint8Array ? createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' }) : publicKey
  } catch (error) {
    return `the public key cannot be read: ${describeError(error)}`
  }
  const allowed = `allowed: ${allowedKeys(rules)}`
  const details = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') {
    const type = CURVES[details.namedCurve ?? '']
    return type !== undefined && rules.keyTypes.includes(type)
      ? undefined
      : `keys on curve ${details.namedCurve ?? 'unknown'} are not accepted; ${allowed}`
  }
  if (key.asymmetricKeyType !== 'rsa' || !rules.keyTypes.includes('rsa')) {
    return `keys of type ${key.asymmetricKeyType ?? 'unknown'} are not accepted; ${allowed}`
  }
  const bits = details.modulusLength ?? 0
  if (bits < rules.rsaBitsMin || bits > rules.rsaBitsMax) return `an RSA key of ${bits} bits is not accepted; ${allowed}`
  const exponent = details.publicExponent ?? 0n
  if (exponent < RSA_EXPONENT_MIN || exponent > RSA_EXPONENT_MAX || exponent % 2n === 0n) {
    return `an RSA public exponent of ${exponent} is not accepted; allowed: odd, ${RSA_EXPONENT_MIN} to ${RSA_EXPONENT_MAX}`
  }
  return undefined
}

function allowedKeys({ keyTypes, rsaBitsMin, rsaBitsMax }: KeyRules): string {
  const curves = Object.values(CURVES).filter((type) => keyTypes.includes(type))
  const ecdsa = curves.length === 0 ? [] : [`ECDSA ${curves.map((type) => (type === 'ecdsa-p256' ? 'P-256' : 'P-384')).join(' or ')}`]
  return [...ecdsa, ...(keyTypes.includes('rsa') ? [`RSA of ${rsaBitsMin} to ${rsaBitsMax} bits`] : [])].join(', or ')
}
