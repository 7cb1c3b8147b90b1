import type { ModelCard } from '../../contracts/model.ts'
import { NotFoundError, StoreError } from '../../kernel/errors.ts'
import type { Collection, Documents, Filter, Stored } from '../../storage/documents/documents.ts'
import type { Observed } from './observations.ts'

/** Which versions of a type's model are used for what. There is one per type, so that a change of roles is one step. */
export interface ModelLine {
  tenant: string
  type: string
  lastVersion: number
  /** Queued or training. */
  training: number | null
  champion: number | null
  challenger: number | null
  /** Champions of before, the latest last. */
  former: number[]
  /** Since when the challenger is in shadow, epoch ms. */
  shadowSince: number
  /** Checks that have an alert open. */
  alerts: string[]
}

/** The card as it is stored: `version` is the engine's there, and the roles are the line's to say. */
export type CardDocument = Omit<ModelCard, 'version'> & {
  number: number
  cancelAsked: boolean
  /** Devices that were erased while it is being trained, which its dataset is not to name. */
  erasedMeanwhile?: string[]
}
export type StoredCard = CardDocument & Stored

/** Part of a file: they may be larger than a document may be. */
interface Chunk {
  of: string
  bytes: Uint8Array
}

/** What one process saw of one model within one hour. */
export interface ObservedHour extends Observed {
  model: string
  hour: number
}

/** Who does what only one process may do, until when. */
export interface Lease {
  holder: string
  until: number
}

const CHUNK_BYTES = 1_048_576
const FORMER_MAX = 10
const LINES_MAX = 10_000

export function modelId(tenant: string, type: string, version: number): string {
  return `${tenant}/${type}@${version}`
}

/** Models in the documents: cards, roles, files, what was observed, and the lease. */
export class ModelStore {
  readonly #documents: Documents
  #opened: Awaited<ReturnType<typeof openAll>> | undefined

  constructor(documents: Documents) {
    this.#documents = documents
  }

  async open(): Promise<void> {
    this.#opened ??= await openAll(this.#documents)
  }

  get cards(): Collection<CardDocument> {
    return this.#all.cards
  }
  get lines(): Collection<ModelLine> {
    return this.#all.lines
  }
  get observed(): Collection<ObservedHour> {
    return this.#all.observed
  }
  get leases(): Collection<Lease> {
    return this.#all.leases
  }

  /** Throws NotFoundError. */
  async card(tenant: string, type: string, version: number): Promise<StoredCard> {
    const card = await this.cards.get(modelId(tenant, type, version))
    if (card === null) throw new NotFoundError(`there is no model ${type}@${version}`)
    return card
  }

  async line(tenant: string, type: string): Promise<(ModelLine & Stored) | null> {
    return this.lines.get(`${tenant}/${type}`)
  }

  async allLines(filter: Filter = {}): Promise<(ModelLine & Stored)[]> {
    return this.lines.find(filter, { sort: { _id: 1 }, limit: LINES_MAX })
  }

  /** Changes the roles of a type's versions in one step; `change` is asked again when somebody else was quicker, and may throw. */
  async changeLine(tenant: string, type: string, change: (line: ModelLine) => Partial<ModelLine>): Promise<ModelLine> {
    const id = `${tenant}/${type}`
    for (;;) {
      const stored = await this.lines.get(id)
      const before = stored ?? newLine(tenant, type)
      const { tenant: _t, type: _y, ...rest } = { ...before, ...change(before) }
      const document = lineOf({ tenant, type, ...rest })
      const written = stored === null ? await this.lines.insert(id, document) : await this.lines.replace(id, stored.version, document)
      if (written.status === 'written') return document
    }
  }

  /** Changes a card; `set` is asked again when somebody else was quicker, and may throw. Throws NotFoundError. */
  async changeCard(tenant: string, type: string, version: number, set: (card: StoredCard) => Partial<CardDocument>): Promise<StoredCard> {
    for (;;) {
      const card = await this.card(tenant, type, version)
      const written = await this.cards.update(card._id, { $set: set(card) }, card.version)
      if (written.status === 'written') return written.document
    }
  }

  /** The file or the checkpoint of a version, as parts with one name. */
  async writeFile(name: string, bytes: Uint8Array): Promise<void> {
    for (let at = 0, part = 0; at === 0 || at < bytes.length; at += CHUNK_BYTES, part++)
      await this.#all.files.put(`${name}#${part}`, { of: name, bytes: bytes.subarray(at, at + CHUNK_BYTES) })
    // Of a longer one that was there before.
    const parts = Math.max(1, Math.ceil(bytes.length / CHUNK_BYTES))
    for (let part = parts; (await this.#all.files.delete(`${name}#${part}`)).status === 'deleted'; part++);
  }

  async readFile(name: string): Promise<Uint8Array | null> {
    const parts: Uint8Array[] = []
    for (;;) {
      const chunk = await this.#all.files.get(`${name}#${parts.length}`)
      if (chunk === null) break
      if (!(chunk.bytes instanceof Uint8Array)) throw new StoreError('STORE_CORRUPT', `a part of the file ${name} holds no bytes`)
      parts.push(chunk.bytes)
      if (chunk.bytes.length < CHUNK_BYTES) break
    }
    return parts.length === 0 ? null : Buffer.concat(parts)
  }

  async removeFile(name: string): Promise<void> {
    await this.#all.files.deleteMany({ of: name })
  }

  get #all(): Awaited<ReturnType<typeof openAll>> {
    if (this.#opened === undefined) throw new TypeError('ModelStore.open was not called')
    return this.#opened
  }
}

/** Pushes a champion on to the former ones. */
export function formerWith(line: ModelLine, version: number | null): number[] {
  const former = version === null ? line.former : [...line.former.filter((each) => each !== version), version]
  return former.slice(-FORMER_MAX)
}

export function newLine(tenant: string, type: string): ModelLine {
  return { tenant, type, lastVersion: 0, training: null, champion: null, challenger: null, former: [], shadowSince: 0, alerts: [] }
}

function lineOf({ tenant, type, lastVersion, training, champion, challenger, former, shadowSince, alerts }: ModelLine): ModelLine {
  return { tenant, type, lastVersion, training, champion, challenger, former, shadowSince, alerts }
}

/** The card as people see it: `line` says what the version is used for. */
export function viewOf(
  { _id: _, version: _stored, cancelAsked: _asked, erasedMeanwhile: _erased, number, ...card }: StoredCard,
  line: ModelLine | null,
): ModelCard {
  return { ...card, version: number, state: card.state === 'refused' ? 'refused' : (roleOf(number, line) ?? card.state) }
}

function roleOf(version: number, line: ModelLine | null): ModelCard['state'] | undefined {
  if (line?.champion === version) return 'serving'
  if (line?.challenger === version) return 'shadow'
  return line?.former.includes(version) === true ? 'former' : undefined
}

async function openAll(documents: Documents) {
  return {
    cards: await documents.collection<CardDocument>({
      name: 'models',
      indexes: [{ name: 'by-type', paths: ['tenant', 'type', 'number'] }],
    }),
    lines: await documents.collection<ModelLine>({ name: 'model-lines', indexes: [] }),
    files: await documents.collection<Chunk>({ name: 'model-files', indexes: [{ name: 'by-file', paths: ['of'] }] }),
    observed: await documents.collection<ObservedHour>({
      name: 'model-observations',
      indexes: [{ name: 'by-model', paths: ['model', 'hour'] }],
    }),
    leases: await documents.collection<Lease>({ name: 'model-leases', indexes: [] }),
  }
}
