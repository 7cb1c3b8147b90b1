import { join } from 'node:path'
import type { Documents } from '../storage/documents/documents.ts'
import { findSealKeys, SEAL_KEYS_FILE } from '../storage/documents/seal-keys.ts'
import { SealedDocuments } from '../storage/documents/sealed-documents.ts'
import type { Config } from './config-sections.ts'
import type { BuildContext } from './module.ts'

const SEAL_KEYS_COLLECTION = 'seal-keys'

/** Documents whose confidential properties lie sealed. Only an engine that no other process opens may use keys of this process's folder. */
export function sealing(
  documents: Documents,
  config: Config,
  { dataDirectory, log }: Pick<BuildContext, 'dataDirectory' | 'log'>,
): Documents {
  const ownFile = config.platform.documentsEngine === 'lmdb' ? join(dataDirectory, SEAL_KEYS_FILE) : null
  const keys = (): ReturnType<typeof findSealKeys> => findSealKeys({ config: config.documents, ownFile })
  return new SealedDocuments({ documents, keys, record: SEAL_KEYS_COLLECTION, log })
}
