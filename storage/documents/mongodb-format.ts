import { MongoServerError, type Db } from 'mongodb'
import { StoreError } from '../../kernel/errors.ts'
import { CODES, type ServerName } from './mongodb-errors.ts'

/** Grows when older versions could no longer read what is stored. */
const FORMAT = 1
/** No collection of the port begins with an underscore. */
const COLLECTION = '_fleetpulse'
const ID = 'documents'

/** Writes the format into a new database and refuses a newer one; also shows at start whether this user may write and read. */
export async function checkFormat(db: Db, { address, database }: ServerName): Promise<void> {
  const collection = db.collection<{ _id: string; format: number }>(COLLECTION)
  try {
    await collection.updateOne({ _id: ID }, { $setOnInsert: { format: FORMAT } }, { upsert: true })
  } catch (error) {
    // Two processes start for the first time at once.
    if (!(error instanceof MongoServerError) || error.code !== CODES.duplicateKey) throw error
  }
  const found = await collection.findOne({ _id: ID })
  if (found === null || found.format <= FORMAT) return
  throw new StoreError(
    'STORE_NEWER',
    `database ${database} of MongoDB at ${address} has format ${found.format}, this version knows up to ${FORMAT}`,
    {
      remedy: 'Start the version of Fleetpulse that wrote it, or newer; nothing was changed.',
    },
  )
}
