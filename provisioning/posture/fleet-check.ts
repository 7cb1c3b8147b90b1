import { X509Certificate } from 'node:crypto'
import { CERTIFICATES_COLLECTION, type CertificateRecord } from '../../contracts/certificate.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Collection, Documents, Stored } from '../../storage/documents/documents.ts'
import { AUTHORITY_ID, openSigningCollections, type PublishedAuthority } from '../ca/signing-requests.ts'
import { factsOf } from './certificate-facts.ts'
import { checkAuthorities, checkCertificate, checkSettings, checkSighting, KeyChecks, type RiskySetting } from './checks.ts'
import type { PostureConfig } from './config.ts'
import type { Found } from './found.ts'
import { openSightings, type Sighting } from './sightings.ts'

const DAY_MS = 86_400_000
/** Certificates read and judged before others get their turn: some ten milliseconds of work. */
const PAGE = 100
const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

export interface FleetCheckOptions {
  config: PostureConfig
  /** Smallest RSA key, in bits. */
  rsaBitsMin: number
  /** What this process's own settings let in or out. */
  settings: readonly RiskySetting[]
  log: Logger
}

/** What the checks read: all of it is in the documents, so that any process can check, without a CA key. */
interface Sources {
  certificates: Collection<CertificateRecord>
  sightings: Collection<Sighting>
  authorities: Collection<PublishedAuthority>
}

/** One look at everything that was issued, and at how it is used. */
export class FleetCheck {
  readonly #options: FleetCheckOptions
  readonly #sources: Sources
  #certificates = 0
  /** Key ids of CAs with certificates that are still valid. */
  readonly #issuers = new Set<string>()

  private constructor(options: FleetCheckOptions, sources: Sources) {
    this.#options = options
    this.#sources = sources
  }

  static async open(documents: Documents, options: FleetCheckOptions): Promise<FleetCheck> {
    const { authorities } = await openSigningCollections(documents)
    const certificates = await documents.collection<CertificateRecord>({ name: CERTIFICATES_COLLECTION, indexes: [] })
    return new FleetCheck(options, { authorities, certificates, sightings: await openSightings(documents) })
  }

  /** Certificates looked at so far, of all states. */
  get certificates(): number {
    return this.#certificates
  }

  async *found(nowMs: number): AsyncGenerator<Found> {
    const { config, settings } = this.#options
    const keys = new KeyChecks()
    yield* this.#ofCertificates(keys, nowMs)
    yield* keys.found(nowMs, config)
    yield* this.#ofSightings(nowMs)
    yield* checkAuthorities(await this.#authorities(), nowMs, config)
    yield* checkSettings(settings)
  }

  async *#ofCertificates(keys: KeyChecks, nowMs: number): AsyncGenerator<Found> {
    for await (const record of pages(this.#sources.certificates)) {
      this.#certificates++
      const found = this.#judge(record, keys, nowMs)
      if (found.length > 0) yield* found
    }
  }

  #judge(record: CertificateRecord, keys: KeyChecks, nowMs: number): Found[] {
    const { log, rsaBitsMin } = this.#options
    try {
      const facts = factsOf(record, nowMs, rsaBitsMin)
      keys.add(facts)
      if (facts.isLive) this.#issuers.add(record.issuer)
      return checkCertificate(facts)
    } catch (error) {
      log.error({ serial: record.serial, error: describeError(error) }, 'a certificate on record cannot be read')
      return []
    }
  }

  async *#ofSightings(nowMs: number): AsyncGenerator<Found> {
    const { certificates, sightings } = this.#sources
    const { config } = this.#options
    await sightings.deleteMany({ lastAt: { $lt: nowMs - config.seenWindowDays * DAY_MS } })
    for await (const sighting of pages(sightings)) {
      const record = await certificates.get(sighting.serial)
      if (record !== null) yield* checkSighting(sighting, record.state === 'revoked', nowMs, config)
    }
  }

  /** As they are published for edges. */
  async #authorities(): Promise<X509Certificate[]> {
    const published = await this.#sources.authorities.get(AUTHORITY_ID)
    if (published === null) return []
    const { caPem, issuers, issuingPem, serverIssuerKeyId } = published
    // One that was published by an earlier version names no issuers. A retired CA is of no concern once nothing valid is left of it.
    const used = ((issuers as typeof issuers | undefined) ?? []).filter(
      ({ keyId }) => keyId === serverIssuerKeyId || this.#issuers.has(keyId),
    )
    const chains = certificatesIn([issuingPem, ...used.map(({ chainPem }) => chainPem)].join('\n'))
    const all = [...chains, ...certificatesIn(caPem).filter((ca) => ca.checkIssued(ca))]
    return [...new Map(all.map((ca) => [ca.fingerprint256, ca])).values()]
  }
}

function certificatesIn(pem: string): X509Certificate[] {
  return (pem.match(CERTIFICATE) ?? []).map((one) => new X509Certificate(one))
}

/** Every document, some at a time. */
async function* pages<T extends object>(collection: Collection<T>): AsyncGenerator<T & Stored> {
  let last = ''
  for (;;) {
    const page = await collection.find({ _id: { $gt: last } }, { sort: { _id: 1 }, limit: PAGE })
    for (const document of page) yield document
    last = page.at(-1)?._id ?? last
    if (page.length < PAGE) return
  }
}
