import { FEEDBACK_COLLECTION, FEEDBACK_INDEXES, type Feedback } from '../../contracts/feedback.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'

/** Labels read at once; more of one type than this are the latest ones. */
const LABELS_MAX = 5_000

/** What people said of anomalies and of ranges of readings, as training and comparison need it. */
export class Labels {
  readonly #documents: Documents
  #collection: Collection<Feedback> | undefined

  constructor(documents: Documents) {
    this.#documents = documents
  }

  /** Everything that counts for a type, latest range first. */
  async ofType(tenant: string, type: string): Promise<Feedback[]> {
    this.#collection ??= await this.#documents.collection<Feedback>({ name: FEEDBACK_COLLECTION, indexes: FEEDBACK_INDEXES })
    return this.#collection.find({ tenant, type, state: { $ne: 'withdrawn' } }, { sort: { fromTs: -1 }, limit: LABELS_MAX })
  }
}
