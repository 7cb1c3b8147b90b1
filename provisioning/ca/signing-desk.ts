import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, sleep, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import { factsOf } from './authority-view.ts'
import type { CertificateAuthority } from './authority.ts'
import type { ProvisioningConfig } from '../config.ts'
import { AUTHORITY_ID, openSigningCollections, type PublishedAuthority, type SigningRequest } from './signing-requests.ts'

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
  #publishing: Promise<void> = Promise.resolve()
  #unsubscribe: (() => void) | undefined

  constructor(options: SigningDeskOptions) {
    this.#options = options
  }

  /** After the authority. Publishes what edges trust, then looks for requests. */
  async start(): Promise<void> {
    if (this.#timer !== undefined) return
    const { documents, authority, config, clock, log } = this.#options
    const { authorities, requests } = await openSigningCollections(documents)
    await authorities.put(AUTHORITY_ID, published(authority))
    this.#requests = requests
    this.#unsubscribe = authority.onAuthorityChange(() => {
      this.#publishing = this.#publish(authorities)
    })
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'requests of edges for a certificate wait')
    this.#timer = every(clock, config.signingPollMs, () => (this.#looking = this.#look()), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    this.#unsubscribe?.()
    await Promise.allSettled([this.#looking, this.#publishing])
  }

  /** What edges present and trust has changed; tried again until they can know, for they refuse devices of a new CA until then. */
  async #publish(authorities: Collection<PublishedAuthority>): Promise<void> {
    const { authority, clock, config, log } = this.#options
    while (this.#timer !== undefined) {
      try {
        await authorities.put(AUTHORITY_ID, published(authority))
        return
      } catch (error) {
        log.error({ error: describeError(error) }, 'edges could not be told of a change of CAs; trying again')
        await sleep(clock, config.authorityPollMs)
      }
    }
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

function published(authority: CertificateAuthority): PublishedAuthority {
  const { caPem, clientIssuersPem, knownIssuers, serverIssuerKeyId } = authority
  return {
    issuingPem: authority.chainPemOf(serverIssuerKeyId),
    caPem,
    serverIssuerKeyId,
    issuers: [...knownIssuers].map(([keyId, { chainPem }]) => ({ keyId, chainPem })),
    clientIssuersPem: clientIssuersPem ?? null,
    authorities: factsOf(authority),
    requests: authority.register.requests.map(({ id, requestedAtMs }) => ({ id, requestedAt: requestedAtMs })),
  }
}

function withoutStored({ edge, names, publicKeyBase64, requestedAt, answer }: SigningRequest): SigningRequest {
  return { edge, names, publicKeyBase64, requestedAt, answer }
}
