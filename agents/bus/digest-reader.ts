import type { Author } from '../../contracts/conversation.ts'
import type { Digest, DigestReader } from '../../contracts/digest.ts'
import type { Service } from '../../kernel/service.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import { authorOfLabel } from '../summary/label.ts'
import { BusKey } from './bus-key.ts'
import { open } from './envelope.ts'

/**
 * Reads published digests off the agents' bus for whoever is no agent: what is unsigned, forged or malformed is none. The journal, which
 * reads the same topic, sets such messages aside and records them.
 */
export class BusDigestReader implements DigestReader, Service {
  readonly name = 'digest-reader'
  readonly #key: BusKey

  constructor(options: { documents: Documents }) {
    this.#key = new BusKey(options)
  }

  start(): Promise<void> {
    return this.#key.start()
  }
  stop(): Promise<void> {
    return this.#key.stop()
  }

  read(message: Parameters<DigestReader['read']>[0]): Digest | null {
    const opened = open(message, this.#key.secret)
    if (opened.status === 'refused' || opened.event.type !== 'SummaryPublished') return null
    const { tenant, at } = opened.event
    // Versions before the second say less.
    const data = opened.event.data as unknown as Omit<Digest, 'author'> & { chatId: string; author?: Author }
    const { chatId: conversation, incident, revision, headline, sections, level, label, evidenceHash } = data
    const { author = authorOfLabel(label), publishedAt = at, causes = [], evidence = [] } = data
    return {
      ...{ incident, tenant, conversation, revision, publishedAt, headline, sections, level, causes },
      ...{ label, author, evidenceHash, evidence },
    }
  }
}
