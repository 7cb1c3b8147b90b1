import { X509Certificate } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describeError, InternalError, TimeoutError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, sleep, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import type { ProvisioningConfig } from '../config.ts'
import { PKI_FILES } from './make-pki.ts'
import type { ServerSigner } from './server-signer.ts'
import { AUTHORITY_ID, openSigningCollections, type PublishedAuthority, type SigningRequest } from './signing-requests.ts'

export interface RemoteAuthorityOptions {
  documents: Documents
  /** Names this edge in the registry's log. */
  edgeId: string
  /** Data folder of this process; the certificate and its key live in `pki` below it. */
  dataDir: string
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/** The CA as an edge sees it that runs in another process than the registry: it asks the registry's signing desk. */
export class RemoteAuthority implements Service, ServerSigner {
  readonly name = 'remote-authority'
  readonly #options: RemoteAuthorityOptions
  readonly #stopping = new AbortController()
  readonly #listeners = new Set<() => void>()
  #published: (PublishedAuthority & Stored) | undefined
  #authorities: Collection<PublishedAuthority> | undefined
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()
  #requests: Collection<SigningRequest> | undefined

  constructor(options: RemoteAuthorityOptions) {
    this.#options = options
  }

  /** Waits until a registry has published its CAs. TimeoutError when none does within the configured time. */
  async start(): Promise<void> {
    if (this.#published !== undefined) return
    const { clock, config, documents, dataDir, log } = this.#options
    await mkdir(join(dataDir, 'pki'), { recursive: true, mode: 0o700 })
    const { authorities, requests } = await openSigningCollections(documents)
    this.#requests = requests
    this.#authorities = authorities
    let told = false
    this.#published = await this.#waitFor('no process of the target registry has published its certificate authority', async () => {
      const found = await authorities.get(AUTHORITY_ID)
      if (found === null && !told) log.info('waiting for a process of the target registry')
      told = true
      // A registry of before there could be several CAs says less.
      return found === null || (found as Partial<PublishedAuthority>).issuers === undefined ? undefined : found
    })
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'changes of CAs are not seen; trying again')
    this.#timer = every(clock, config.authorityPollMs, () => (this.#looking = this.#look()), onError)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#timer?.cancel()
    await Promise.allSettled([this.#looking])
    this.#published = undefined
  }

  get serverIssuerKeyId(): string {
    return this.#authority.serverIssuerKeyId
  }
  get knownIssuers(): Map<string, { certificate: X509Certificate; chainPem: string }> {
    return new Map(this.#authority.issuers.map(({ keyId, chainPem }) => [keyId, { certificate: new X509Certificate(chainPem), chainPem }]))
  }
  get clientIssuersPem(): string | undefined {
    return this.#authority.clientIssuersPem ?? undefined
  }
  get caPem(): string {
    return this.#authority.caPem
  }
  get serverFile(): { folder: string; name: string } {
    return { folder: join(this.#options.dataDir, 'pki'), name: PKI_FILES.server }
  }

  onAuthorityChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Takes over what the registry publishes now. */
  async #look(): Promise<void> {
    const found = await this.#authorities?.get(AUTHORITY_ID)
    if (found === null || found === undefined || found.version === this.#published?.version || this.#stopping.signal.aborted) return
    this.#published = found
    this.#options.log.info('the registry has changed its CAs')
    for (const listener of this.#listeners) listener()
  }

  /** Asks, and waits for the answer. TimeoutError when no registry answers in time: the certificate in use serves on. */
  async signServer(names: readonly [string, ...string[]], publicKey: Uint8Array): Promise<{ serial: string; pem: string; der: Buffer }> {
    const { clock, edgeId } = this.#options
    const requests = this.#requests
    if (requests === undefined) throw new InternalError('the remote authority is used before its start')
    const id = newId(clock.nowMs())
    const publicKeyBase64 = Buffer.from(publicKey).toString('base64')
    await requests.insert(id, { edge: edgeId, names: [...names], publicKeyBase64, requestedAt: clock.nowMs(), answer: null })
    try {
      const why = 'no process of the target registry signed the server certificate'
      const { serial, pem } = await this.#waitFor(why, async () => (await requests.get(id))?.answer ?? undefined)
      // It may be of a CA that began to sign only now.
      await this.#look()
      return { serial, pem, der: new X509Certificate(pem).raw }
    } finally {
      await requests.delete(id)
    }
  }

  async #waitFor<T>(why: string, look: () => Promise<T | undefined>): Promise<T> {
    const { clock, config } = this.#options
    const deadlineMs = clock.monotonicMs() + config.signingTimeoutMs
    for (;;) {
      const found = await look()
      if (found !== undefined) return found
      if (this.#stopping.signal.aborted || clock.monotonicMs() >= deadlineMs) {
        throw new TimeoutError(`${why} within ${config.signingTimeoutMs} ms`, {
          remedy: 'Start fleetpulse start --target=registry on the same stores, then this again.',
        })
      }
      await sleep(clock, config.signingPollMs, this.#stopping.signal)
    }
  }

  get #authority(): PublishedAuthority {
    if (this.#published === undefined) throw new InternalError('the remote authority is used before its start or after its stop')
    return this.#published
  }
}
