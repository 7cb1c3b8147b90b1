import { X509Certificate } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { InternalError, TimeoutError } from '../../kernel/errors.ts'
import { newId } from '../../kernel/ids.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
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
  #published: PublishedAuthority | undefined
  #requests: Collection<SigningRequest> | undefined

  constructor(options: RemoteAuthorityOptions) {
    this.#options = options
  }

  /** Waits until a registry has published its CAs. TimeoutError when none does within the configured time. */
  async start(): Promise<void> {
    if (this.#published !== undefined) return
    const { documents, dataDir, log } = this.#options
    await mkdir(join(dataDir, 'pki'), { recursive: true, mode: 0o700 })
    const { authorities, requests } = await openSigningCollections(documents)
    this.#requests = requests
    let told = false
    this.#published = await this.#waitFor('no process of the target registry has published its certificate authority', async () => {
      const found = await authorities.get(AUTHORITY_ID)
      if (found === null && !told) log.info('waiting for a process of the target registry')
      told = true
      return found ?? undefined
    })
  }

  stop(): Promise<void> {
    this.#stopping.abort()
    this.#published = undefined
    return Promise.resolve()
  }

  get issuing(): X509Certificate {
    return new X509Certificate(this.issuingPem)
  }
  get issuingPem(): string {
    return this.#authority.issuingPem
  }
  get caPem(): string {
    return this.#authority.caPem
  }
  get serverFile(): { folder: string; name: string } {
    return { folder: join(this.#options.dataDir, 'pki'), name: PKI_FILES.server }
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
