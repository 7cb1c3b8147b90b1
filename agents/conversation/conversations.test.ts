import { describe } from 'node:test'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { conversationsContract } from './conversations.contract.ts'

describe('conversations on LMDB', () => {
  conversationsContract(
    async (t, count) => {
      const documents = await lmdbDocuments(t)
      return Array.from({ length: count }, () => documents)
    },
    { grants: 60, kills: 12 },
  )
})
