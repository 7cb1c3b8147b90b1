import { sealedDocumentsContract } from './sealed-documents.contract.ts'
import { lmdbDocuments } from './testing/lmdb-fixture.ts'

sealedDocumentsContract('LMDB', (t) => lmdbDocuments(t))
