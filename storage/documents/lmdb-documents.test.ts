import { documentsContract } from './documents.contract.ts'
import { lmdbDocuments } from './testing/lmdb-fixture.ts'

documentsContract('LMDB with mingo', (t) => lmdbDocuments(t))
documentsContract('LMDB with mingo, in slices of two documents', (t) =>
  lmdbDocuments(t, { scanSliceDocuments: 2, deleteSliceDocuments: 1 }),
)
