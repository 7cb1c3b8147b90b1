import { X509Certificate } from 'node:crypto'
import type { PeerCertificate } from 'node:tls'
import { foreignCertificateKey } from '../../contracts/certificate.ts'
import { ownCredentialOf, type Credential, type CredentialReading, type Trust } from '../../contracts/credential.ts'
import type { TrustChange } from '../../contracts/registry-view.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { keyIdentifierOf } from '../ca/extensions.ts'
import { openAuthorities, openClaims, type Claim, type FactoryAuthority } from './collections.ts'
import { deviceIdOf } from './template.ts'

export interface TrustViewOptions {
  documents: Documents
  clock: Clock
  log: Logger
  /** PEM of our own CAs, asked at each reading: they change while we run. */
  ownCaPem: () => string
  /** Tells of changes from then on; answers the way to stop. */
  follow: (listener: (change: TrustChange) => void) => () => void
}

interface KnownAuthority {
  document: FactoryAuthority
  certificate: X509Certificate
}

interface OwnAuthority {
  certificate: X509Certificate
  keyId: string
}

/** Pause after the documents could not be read, in ms. */
const RETRY_MS = 200
const PAGE_DOCUMENTS = 500

/**
 * Factory CAs and claims in memory, for every listener of this process: loaded at start, then kept up to date by what `device-events` tells.
 */
export class TrustView implements Service, Trust {
  readonly name = 'trust-view'
  readonly #options: TrustViewOptions
  readonly #authorities = new Map<string, KnownAuthority>()
  readonly #claims = new Map<string, Claim>()
  readonly #listeners = new Set<() => void>()
  readonly #stale = new Map<string, TrustChange>()
  readonly #stopping = new AbortController()
  #collections: { authorities: Collection<FactoryAuthority>; claims: Collection<Claim> } | undefined
  #unfollow: (() => void) | undefined
  #refreshing: Promise<void> | undefined
  #anchorsPem = ''
  #own: { pem: string; authorities: OwnAuthority[] } = { pem: '', authorities: [] }

  constructor(options: TrustViewOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#collections !== undefined) return
    const { documents, follow } = this.#options
    const collections = { authorities: await openAuthorities(documents), claims: await openClaims(documents) }
    // First listen, then load: what changes in between is looked up again.
    this.#unfollow = follow((change) => this.#note(change))
    for await (const document of everyOne(collections.authorities)) this.#putAuthority(document._id, document)
    for await (const document of everyOne(collections.claims)) this.#putClaim(document._id, document)
    this.#collections = collections
    this.#gatherAnchors()
    this.#refresh()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#unfollow?.()
    await this.#refreshing
    this.#collections = undefined
    this.#authorities.clear()
    this.#claims.clear()
  }

  get anchorsPem(): string {
    return this.#anchorsPem
  }

  onChanged(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  read(certificate: PeerCertificate): CredentialReading {
    let leaf: X509Certificate
    try {
      leaf = new X509Certificate(certificate.raw)
    } catch (error) {
      return { status: 'refused', reason: 'identity', detail: `the certificate cannot be read: ${describeError(error)}` }
    }
    const own = this.#ownCas().find(({ certificate: authority }) => isIssuedBy(leaf, authority))
    if (own !== undefined) {
      const credential = ownCredentialOf(certificate, own.keyId)
      return credential === undefined ? NAMES_NOBODY : { status: 'read', credential }
    }
    for (const { document, certificate: authority } of this.#authorities.values()) {
      if (isIssuedBy(leaf, authority)) return ofFactory(document, certificate)
    }
    // It chains to something that we trust, for instance to a CA above a factory CA; that is not enough.
    return { status: 'refused', reason: 'unknown-ca', detail: 'the certificate was signed by no CA that is registered here' }
  }

  lapse(credential: Credential): string | undefined {
    if (credential.kind === 'device') return undefined
    if (credential.kind === 'factory') {
      const isKnown = this.#authorities.has(`${credential.tenant}/${credential.authority}`)
      return isKnown ? undefined : 'the factory CA is not registered any more'
    }
    const claim = this.#claims.get(`${credential.tenant}/${credential.claim}`)
    if (claim === undefined || claim.serial !== credential.serial) return 'the claim is not known'
    if (claim.state === 'revoked') return 'the claim is revoked'
    return claim.expiresAt <= this.#options.clock.nowMs() ? 'the claim has expired' : undefined
  }

  #note(change: TrustChange): void {
    this.#stale.set(`${change.kind} ${change.tenant}/${change.id}`, change)
    if (this.#collections !== undefined) this.#refresh()
  }

  #refresh(): void {
    this.#refreshing ??= this.#refreshAll().finally(() => {
      this.#refreshing = undefined
      if (this.#stale.size > 0 && !this.#stopping.signal.aborted) this.#refresh()
    })
  }

  async #refreshAll(): Promise<void> {
    const { clock, log } = this.#options
    const { signal } = this.#stopping
    while (this.#stale.size > 0 && !signal.aborted) {
      const changes = [...this.#stale.entries()]
      try {
        for (const [key, change] of changes) {
          this.#stale.delete(key)
          await this.#look(change)
        }
      } catch (error) {
        for (const [key, change] of changes) this.#stale.set(key, change)
        log.error({ error: describeError(error) }, 'whom to trust could not be looked up, trying again')
        await sleep(clock, RETRY_MS, signal)
        continue
      }
      this.#gatherAnchors()
      this.#tell()
    }
  }

  async #look({ kind, tenant, id }: TrustChange): Promise<void> {
    if (this.#collections === undefined) return
    const key = `${tenant}/${id}`
    if (kind === 'factory') this.#putAuthority(key, await this.#collections.authorities.get(key))
    else this.#putClaim(key, await this.#collections.claims.get(key))
  }

  #putAuthority(key: string, document: FactoryAuthority | null): void {
    if (document === null || document.state === 'removing') this.#authorities.delete(key)
    else this.#authorities.set(key, { document, certificate: new X509Certificate(document.certificatePem) })
  }

  #putClaim(key: string, document: Claim | null): void {
    if (document === null) this.#claims.delete(key)
    else this.#claims.set(key, document)
  }

  #gatherAnchors(): void {
    this.#anchorsPem = [...this.#authorities.values()]
      .map(({ document }) => withNewline(document.certificatePem) + document.chainPem)
      .join('')
  }

  #tell(): void {
    for (const listener of this.#listeners) {
      try {
        listener()
      } catch (error) {
        this.#options.log.error({ error: describeError(error) }, 'a listener could not take what is trusted now')
      }
    }
  }

  #ownCas(): readonly OwnAuthority[] {
    const pem = this.#options.ownCaPem()
    if (pem !== this.#own.pem) {
      const authorities = certificatesOf(pem).map((certificate) => ({ certificate, keyId: keyIdentifierOf(certificate) }))
      this.#own = { pem, authorities }
    }
    return this.#own.authorities
  }
}

const NAMES_NOBODY: CredentialReading = {
  status: 'refused',
  reason: 'identity',
  detail: 'the certificate does not have exactly one SAN URI urn:fleetpulse:TENANT:DEVICE with the device id as its CN',
}

function ofFactory({ tenant, id, template }: FactoryAuthority, certificate: PeerCertificate): CredentialReading {
  const device = deviceIdOf(template, { ...certificate.subject })
  if (device === undefined) {
    const detail = `the subject's ${template.attribute} does not fit ${template.subjectPattern}, or makes no device id, as factory CA ${id} wants it`
    return { status: 'refused', reason: 'identity', detail }
  }
  return { status: 'read', credential: { kind: 'factory', tenant, device, authority: id, serial: foreignCertificateKey(certificate.raw) } }
}

/** By name, key identifiers and usage, and by signature. */
export function isIssuedBy(leaf: X509Certificate, authority: X509Certificate): boolean {
  return leaf.checkIssued(authority) && leaf.verify(authority.publicKey)
}

/** Every certificate of a PEM text. */
export function certificatesOf(pem: string): X509Certificate[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^]+?-----END CERTIFICATE-----/g) ?? []).map((text) => new X509Certificate(text))
}

function withNewline(pem: string): string {
  return pem.endsWith('\n') ? pem : `${pem}\n`
}

async function* everyOne<T extends object>(collection: Collection<T>): AsyncGenerator<T & { _id: string }> {
  for (let last: string | undefined; ;) {
    const page = await collection.find(last === undefined ? {} : { _id: { $gt: last } }, { sort: { _id: 1 }, limit: PAGE_DOCUMENTS })
    yield* page
    if (page.length < PAGE_DOCUMENTS) return
    last = page.at(-1)?._id
  }
}
