import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { CertificateAuthority } from './authority.ts'
import type { ProvisioningConfig } from '../config.ts'
import { AUTHORITY_ID, openSigningCollections, type SigningRequest } from './signing-requests.ts'

export interface SigningDeskOptions {
  documents: Documents
  authority: CertificateAuthority
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

/** Requests answered at once; the next look takes the rest. */
const REQUESTS_MAX = 50

/**
 * Signs server certificates for edges in other processes. They ask through the documents: whoever may write there is part of the
 * platform. Their keys never leave them, and the CA's key never leaves this process.
 */
export class SigningDesk implements Service {
  readonly name = 'signing-desk'
  readonly #options: SigningDeskOptions
  #requests: Collection<SigningRequest> | undefined
  #timer: Timer | undefined
  #looking: Promise<void> = Promise.resolve()

  constructor(options: SigningDeskOptions) {
    this.#options = options
  }

  /** After the authority. Publishes what edges trust, then looks for requests. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, authority, config, clock, log } = this.#options
    const { authorities, requests } = await openSigningCollections(documents)
    await authorities.put(AUTHORITY_ID, { issuingPem: authority.issuingPem, caPem: authority.caPem })
    this.#requests = requests
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'requests of edges for a certificate wait')
    this.#timer = every(clock, config.signingPollMs, () => (this.#looking = this.#look()), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#looking])
  }

  async #look(): Promise<void> {
    const waiting = (await this.#requests?.find({ answer: null }, { sort: { requestedAt: 1 }, limit: REQUESTS_MAX })) ?? []
    for (const request of waiting) {
      const { authority, log } = this.#options
      const [first, ...rest] = request.names
      if (first === undefined) continue
      const { serial, pem } = await authority.signServer([first, ...rest], Buffer.from(request.publicKeyBase64, 'base64'))
      await this.#requests?.replace(request._id, request.version, { ...withoutStored(request), answer: { serial, pem } })
      log.info({ serial, names: request.names, edge: request.edge }, 'server certificate issued to an edge')
    }
  }
}

function withoutStored({ edge, names, publicKeyBase64, requestedAt, answer }: SigningRequest): SigningRequest {
  return { edge, names, publicKeyBase64, requestedAt, answer }
}
