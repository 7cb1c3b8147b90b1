import type { KeyObject } from 'node:crypto'
import type { ProvisioningConfig } from '../config.ts'
import type { KeyType } from './config.ts'

export type KeyBounds = Pick<ProvisioningConfig, 'deviceKeyTypes' | 'rsaBitsMin' | 'rsaBitsMax'>

const CURVES: ReadonlyMap<string, KeyType> = new Map([
  ['prime256v1', 'P-256'],
  ['secp384r1', 'P-384'],
])

/** What kind of key it is, as the configuration of the doors names kinds. */
export function keyTypeOf(key: KeyObject): KeyType | `RSA-${number}` | undefined {
  const details = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') return CURVES.get(details.namedCurve ?? '')
  return key.asymmetricKeyType === 'rsa' ? `RSA-${details.modulusLength ?? 0}` : undefined
}

/** The kinds of key to ask for where the device profile allows these families: RSA only where nothing else is. */
export function keyTypesOf({ deviceKeyTypes, rsaBitsMin }: KeyBounds): readonly KeyType[] {
  const curves: KeyType[] = []
  if (deviceKeyTypes.includes('ecdsa-p256')) curves.push('P-256')
  if (deviceKeyTypes.includes('ecdsa-p384')) curves.push('P-384')
  if (curves.length > 0) return curves
  return rsaBitsMin <= 2_048 ? ['RSA-2048'] : rsaBitsMin <= 3_072 ? ['RSA-3072'] : ['RSA-4096']
}
