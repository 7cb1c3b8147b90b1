import { describe } from 'node:test'
import { documentsOn, freshDatabase } from '../../storage/documents/testing/mongodb-fixture.ts'
import { serverAddress } from '../../test/testing/server-addresses.ts'
import { conversationsContract } from './conversations.contract.ts'

describe('conversations on MongoDB', () => {
  conversationsContract(
    async (t, count) => {
      const url = serverAddress('mongodb')
      const database = freshDatabase(t, url)
      const stores = Array.from({ length: count }, () => documentsOn({ url, database }))
      for (const store of stores) await store.start()
      t.after(async () => {
        for (const store of stores) await store.stop()
      })
      return stores
    },
    { grants: 1_000, kills: 50 },
  )
})
