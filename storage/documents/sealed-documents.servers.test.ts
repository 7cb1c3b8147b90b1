import { serverAddress } from '../../test/testing/server-addresses.ts'
import { sealedDocumentsContract } from './sealed-documents.contract.ts'
import { mongodbDocuments } from './testing/mongodb-fixture.ts'

sealedDocumentsContract('MongoDB', (t) => mongodbDocuments(t, { url: serverAddress('mongodb') }))
