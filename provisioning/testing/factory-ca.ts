import { generateKeyPairSync, webcrypto, X509Certificate, type KeyObject } from 'node:crypto'
import { foreignCertificateKey } from '../../contracts/certificate.ts'
import type { FactoryCredential } from '../../contracts/credential.ts'
import { systemClock } from '../../kernel/time.ts'
import { x509 } from '../ca/x509.ts'
import type { FactoryTemplate } from '../trust/template.ts'
import { TENANT, type Station } from './station.ts'

const DAY_MS = 86_400_000
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

export interface FactoryDevice {
  certPem: string
  keyPem: string
}

/** A device maker's CA; `issuer` makes it one below another. */
export class FactoryCa {
  readonly pem: string
  readonly #name: string
  readonly #keys: webcrypto.CryptoKeyPair
  #serial = 1

  private constructor(name: string, keys: webcrypto.CryptoKeyPair, pem: string) {
    this.#name = name
    this.#keys = keys
    this.pem = pem
  }

  static async make(options: { name?: string; issuer?: FactoryCa; isCa?: boolean; notAfterMs?: number } = {}): Promise<FactoryCa> {
    const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
    const name = options.name ?? 'CN=Maker Root'
    const nowMs = systemClock.nowMs()
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: '01',
      subject: name,
      issuer: options.issuer === undefined ? name : options.issuer.#name,
      publicKey: keys.publicKey,
      signingKey: options.issuer === undefined ? keys.privateKey : options.issuer.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(nowMs - 10 * DAY_MS),
      notAfter: new Date(options.notAfterMs ?? nowMs + 10 * DAY_MS),
      extensions: [new x509.BasicConstraintsExtension(options.isCa ?? true, undefined, true)],
    })
    return new FactoryCa(name, keys, `${certificate.toString('pem')}\n`)
  }

  /** A certificate for a key, by default a new P-256 one. */
  async sign(
    subject: string,
    options: { keys?: { publicKey: KeyObject; privateKey: KeyObject }; notAfterMs?: number; uri?: string; dns?: string } = {},
  ): Promise<FactoryDevice> {
    const { publicKey, privateKey } = options.keys ?? generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const nowMs = systemClock.nowMs()
    const names = [
      ...(options.uri === undefined ? [] : [{ type: 'url' as const, value: options.uri }]),
      ...(options.dns === undefined ? [] : [{ type: 'dns' as const, value: options.dns }]),
    ]
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: (this.#serial++).toString(16).padStart(2, '0'),
      subject,
      issuer: this.#name,
      publicKey: publicKey.export({ format: 'der', type: 'spki' }),
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(nowMs - DAY_MS),
      notAfter: new Date(options.notAfterMs ?? nowMs + DAY_MS),
      extensions: names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)],
    })
    return { certPem: `${certificate.toString('pem')}\n`, keyPem: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string }
  }
}

export const TEMPLATE: FactoryTemplate = { type: 'pump', attribute: 'CN', subjectPattern: '{id}', deviceId: '{id}', labels: {} }

/** Registers a factory CA with proof, as an operator does. */
export async function registerFactory(
  station: Station,
  id: string,
  factory: FactoryCa,
  template: Partial<FactoryTemplate> = {},
  tenant = TENANT,
): Promise<void> {
  const { code } = await station.factoryAuthorities.newCode(tenant, 'user:tester')
  const proof = await factory.sign(`CN=${code}`)
  await station.factoryAuthorities.register({
    ...{ tenant, id, certificatePem: factory.pem, chainPem: '', code, proofPem: proof.certPem, by: 'user:tester' },
    template: { ...TEMPLATE, ...template },
  })
}

/** What an edge would say of a certificate of this CA. */
export function credentialOf(device: string, authority: string, { certPem }: FactoryDevice, tenant = TENANT): FactoryCredential {
  return { kind: 'factory', tenant, device, authority, serial: foreignCertificateKey(new X509Certificate(certPem).raw) }
}
