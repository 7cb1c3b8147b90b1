import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'
import { deviceUri } from '../../contracts/device-identity.ts'
import { normaliseSerial } from '../../contracts/certificate.ts'
import type { Clock } from '../../kernel/time.ts'
import type { TlsMaterial } from '../../kernel/tls.ts'

const DAY_MS = 86_400_000
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0])

/** What a device of a test presents. */
export interface TestCertificate {
  key: string
  cert: string
  serial: string
}

/** A throw-away certificate authority: a root that issues directly. */
export class TestAuthority {
  readonly caPem: string
  readonly #clock: Clock
  readonly #keys: webcrypto.CryptoKeyPair
  readonly #name: string
  #serial = 0x1000

  private constructor(clock: Clock, name: string, keys: webcrypto.CryptoKeyPair, caPem: string) {
    this.#clock = clock
    this.#name = name
    this.#keys = keys
    this.caPem = caPem
  }

  static async create(clock: Clock, commonName = 'Test Root'): Promise<TestAuthority> {
    const keys = await generateKeys()
    const name = `CN=${commonName}`
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: '01',
      name,
      keys,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(clock.nowMs() - DAY_MS),
      notAfter: new Date(clock.nowMs() + DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      ],
    })
    return new TestAuthority(clock, name, keys, certificate.toString('pem'))
  }

  device(
    device: string,
    options: { tenant?: string; commonName?: string; notAfterMs?: number; uris?: string[] } = {},
  ): Promise<TestCertificate> {
    const uris = options.uris ?? [deviceUri(options.tenant ?? 'default', device)]
    return this.#issue(options.commonName ?? device, {
      uris,
      ...(options.notAfterMs === undefined ? {} : { notAfterMs: options.notAfterMs }),
    })
  }

  async server(): Promise<TlsMaterial> {
    const { key, cert } = await this.#issue('localhost', { dns: ['localhost'], ips: ['127.0.0.1'] })
    return { keyPem: key, certChainPem: cert + this.caPem, caPem: this.caPem }
  }

  async #issue(
    commonName: string,
    names: { uris?: string[]; dns?: string[]; ips?: string[]; notAfterMs?: number },
  ): Promise<TestCertificate> {
    const keys = await generateKeys()
    const serial = (this.#serial++).toString(16)
    const altNames = [
      ...(names.uris ?? []).map((value) => ({ type: 'url' as const, value })),
      ...(names.dns ?? []).map((value) => ({ type: 'dns' as const, value })),
      ...(names.ips ?? []).map((value) => ({ type: 'ip' as const, value })),
    ]
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial,
      subject: `CN=${commonName}`,
      issuer: this.#name,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(this.#clock.nowMs() - DAY_MS),
      notAfter: new Date(names.notAfterMs ?? this.#clock.nowMs() + DAY_MS),
      extensions: [
        new x509.BasicConstraintsExtension(false),
        ...(altNames.length > 0 ? [new x509.SubjectAlternativeNameExtension(altNames)] : []),
      ],
    })
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey))
    return {
      key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY'),
      cert: `${certificate.toString('pem')}\n`,
      serial: normaliseSerial(serial) ?? '',
    }
  }
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}
