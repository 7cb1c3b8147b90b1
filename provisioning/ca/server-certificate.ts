import { X509Certificate, createPrivateKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { Gauge } from 'prom-client'
import { describeError, InternalError, StoreError } from '../../kernel/errors.ts'
import { writeFileAtomically } from '../../kernel/files.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { KeySealer } from '../../contracts/key-sealer.ts'
import type { Staple, TlsMaterial } from '../../kernel/tls.ts'
import { newPrivateKeyPem } from './ca-key.ts'
import type { ProvisioningConfig } from '../config.ts'
import { publicKeyOf } from './make-pki.ts'
import type { ServerSigner } from './server-signer.ts'
import { x509 } from './x509.ts'

export interface ServerCertificateOptions {
  authority: ServerSigner
  /** Without one the key lies unencrypted in its file. */
  keySealer?: KeySealer
  config: ProvisioningConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

interface Held {
  material: TlsMaterial
  keyPem: string
  leaf: X509Certificate
  /** Key id of the CA that signed it. */
  issuer: string
}

/** Always in the certificate, so that a laptop needs no configuration. */
const LOCAL_NAMES = ['localhost', '127.0.0.1', '::1'] as const

/**
 * The certificate of our own listeners. Made at the first start, reused while it fits, renewed by itself before it expires;
 * listeners subscribe and reload without dropping a session.
 */
export class ServerCertificate implements Service {
  readonly name = 'server-certificate'
  readonly #options: ServerCertificateOptions
  readonly #expiry: Gauge
  readonly #listeners = new Set<(material: TlsMaterial) => void>()
  #held: Held | undefined
  #stapled: { serial: string; staple: Staple } | undefined
  #timer: Timer | undefined
  #unsubscribe: (() => void) | undefined
  #checking: Promise<void> = Promise.resolve()

  constructor(options: ServerCertificateOptions) {
    this.#options = options
    this.#expiry = options.metrics.gauge(
      'provisioning_server_certificate_expiry_seconds',
      'When the server certificate expires, in seconds since the epoch.',
    )
  }

  /** After the authority, and after whatever tells its pkiUrl. Throws StoreError for a damaged `server.pem`; nothing is overwritten. */
  async start(): Promise<void> {
    if (this.#held !== undefined) return
    const stored = await this.#load()
    if (stored === undefined || this.#isDue(stored) || !this.#fits(stored)) await this.#renew()
    else this.#take(stored)
    const onError = (error: unknown): void => {
      this.#options.log.error({ error: describeError(error) }, 'server certificate could not be renewed; trying again at the next check')
    }
    this.#timer = every(this.#options.clock, this.#options.config.serverCheckIntervalMs, () => this.#checkInTurn(), onError)
    this.#unsubscribe = this.#options.authority.onAuthorityChange(() => void this.#checkInTurn().catch(onError))
  }

  /** Waits for a renewal under way, so that no one is told of it later. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#unsubscribe?.()
    await Promise.allSettled([this.#checking])
    this.#held = undefined
    this.#stapled = undefined
  }

  /** What listeners present and trust now. */
  get material(): TlsMaterial {
    if (this.#held === undefined) throw new InternalError('the server certificate is used before its start or after its stop')
    return this.staple === undefined ? this.#held.material : { ...this.#held.material, staple: this.staple }
  }

  /** The certificate itself. */
  get leaf(): X509Certificate {
    if (this.#held === undefined) throw new InternalError('the server certificate is used before its start or after its stop')
    return this.#held.leaf
  }

  /** What listeners staple now. */
  get staple(): Staple | undefined {
    return this.#stapled?.serial === this.#held?.leaf.serialNumber ? this.#stapled?.staple : undefined
  }

  /** A new OCSP answer about the certificate with this serial, or none any more; nothing happens when it was renewed meanwhile. */
  takeStaple(serial: string, staple: Staple | null): void {
    if (this.#held?.leaf.serialNumber !== serial) return
    this.#stapled = staple === null ? undefined : { serial, staple }
    this.#tell()
  }

  /** Calls back with each renewed certificate, and each new staple; returns the way to stop listening. */
  onServerCertificate(listener: (material: TlsMaterial) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** One look at a time: a timer and a change of CAs may come together. */
  #checkInTurn(): Promise<void> {
    this.#checking = this.#checking.then(
      () => this.#check(),
      () => this.#check(),
    )
    return this.#checking
  }

  async #check(): Promise<void> {
    const held = this.#held
    if (held === undefined) return
    if (this.#isDue(held)) await this.#renew()
    else this.#take(this.#assemble(held.keyPem, held.leaf, held.issuer))
    if (sameMaterial(held.material, this.material)) return
    this.#tell()
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      try {
        listener(this.material)
      } catch (error) {
        this.#options.log.error({ error: describeError(error) }, 'a listener could not reload the server certificate')
      }
    }
  }

  async #renew(): Promise<void> {
    const { authority, log } = this.#options
    const keyPem = await newPrivateKeyPem()
    const signed = await authority.signServer(this.#names(), publicKeyOf(keyPem))
    const { folder, name } = authority.serverFile
    await this.#write(join(folder, name), keyPem, signed.pem)
    const leaf = new X509Certificate(signed.der)
    const issuer = this.#issuerOf(leaf)
    if (issuer === undefined) throw new InternalError('a server certificate was signed by a CA that is not known')
    this.#take(this.#assemble(keyPem, leaf, issuer))
    log.info({ serial: signed.serial, names: this.#names() }, 'server certificate issued')
  }

  async #load(): Promise<Held | undefined> {
    const { folder, name } = this.#options.authority.serverFile
    let text: string
    try {
      text = await readFile(join(folder, name), 'utf8')
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw new StoreError('STORE_UNUSABLE', `The server certificate ${join(folder, name)} cannot be read: ${describeError(error)}.`, {
        remedy: 'Make the file readable for this user and start again.',
        cause: error,
      })
    }
    return this.#parse(text, join(folder, name))
  }

  async #write(path: string, keyPem: string, certificatePem: string): Promise<void> {
    const { keySealer } = this.#options
    await writeFileAtomically(path, (keySealer === undefined ? keyPem : await keySealer.seal(createPrivateKey(keyPem))) + certificatePem)
  }

  /** The key in the clear; a file of before keys were encrypted is written anew. */
  async #keyOf(text: string, path: string): Promise<string> {
    const { keySealer } = this.#options
    const at = text.indexOf('-----BEGIN CERTIFICATE-----')
    const pem = at < 0 ? text : text.slice(0, at)
    if (keySealer?.isSealed(pem) === true) return (await keySealer.open(pem, path)).export({ type: 'pkcs8', format: 'pem' }) as string
    if (keySealer !== undefined && isKey(pem)) await this.#write(path, pem, text.slice(pem.length))
    return pem
  }

  async #parse(text: string, path: string): Promise<Held> {
    const damaged = (problem: string, cause?: unknown): StoreError =>
      new StoreError('STORE_CORRUPT', `The server certificate ${path} ${problem}.`, {
        remedy: 'Nothing was changed. Restore the file from a backup, or move it away and start again: a new one is issued.',
        ...(cause === undefined ? {} : { cause }),
      })
    const keyPem = await this.#keyOf(text, path)
    let leaf: X509Certificate
    let belongs: boolean
    try {
      leaf = new X509Certificate(/-----BEGIN CERTIFICATE-----[^]*$/.exec(text)?.[0] ?? '')
      belongs = leaf.checkPrivateKey(createPrivateKey(keyPem))
    } catch (error) {
      throw damaged('does not hold a readable private key and certificate', error)
    }
    if (!belongs) throw damaged('holds a private key that does not belong to its certificate')
    const issuer = this.#issuerOf(leaf)
    if (issuer === undefined) throw damaged('was not signed by the issuing CA beside it')
    return this.#assemble(keyPem, leaf, issuer)
  }

  /** Key id of the CA of ours that signed it. */
  #issuerOf(leaf: X509Certificate): string | undefined {
    for (const [keyId, { certificate }] of this.#options.authority.knownIssuers) {
      if (leaf.checkIssued(certificate) && leaf.verify(certificate.publicKey)) return keyId
    }
    return undefined
  }

  #assemble(keyPem: string, leaf: X509Certificate, issuer: string): Held {
    const { caPem, clientIssuersPem, knownIssuers } = this.#options.authority
    const certChainPem = leaf.toString() + (knownIssuers.get(issuer)?.chainPem ?? '')
    return {
      keyPem,
      leaf,
      issuer,
      material: { keyPem, certChainPem, caPem, ...(clientIssuersPem === undefined ? {} : { clientIssuersPem }) },
    }
  }

  #take(held: Held): void {
    this.#held = held
    this.#expiry.set(Date.parse(held.leaf.validTo) / 1_000)
  }

  /** Old enough, or another CA signs now. */
  #isDue({ issuer, leaf }: Held): boolean {
    if (issuer !== this.#options.authority.serverIssuerKeyId) return true
    const fromMs = Date.parse(leaf.validFrom)
    const lifetimeMs = Date.parse(leaf.validTo) - fromMs
    return this.#options.clock.nowMs() >= fromMs + lifetimeMs * this.#options.config.serverRenewAfterFraction
  }

  /** Made for exactly the names configured now? */
  #fits({ leaf }: Held): boolean {
    const wanted = this.#names()
    const present = new x509.X509Certificate(leaf.raw).getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? []
    const dnsNames = new Set(present.filter((name) => name.type === 'dns').map((name) => name.value))
    return (
      present.length === wanted.length && wanted.every((name) => (isIP(name) === 0 ? dnsNames.has(name) : leaf.checkIP(name) !== undefined))
    )
  }

  #names(): [string, ...string[]] {
    const [first, ...rest] = LOCAL_NAMES
    const configured = this.#options.config.serverNames.map((name) => name.toLowerCase())
    return [...new Set([...configured, first, ...rest])] as [string, ...string[]]
  }
}

function isKey(pem: string): boolean {
  try {
    createPrivateKey(pem)
    return true
  } catch {
    return false
  }
}

function sameMaterial(one: TlsMaterial, other: TlsMaterial): boolean {
  return (['keyPem', 'certChainPem', 'caPem', 'clientIssuersPem'] as const).every((part) => one[part] === other[part])
}
