import { describe } from 'node:test'
import { lmdbDocuments } from '../../storage/documents/testing/lmdb-fixture.ts'
import { agentsLog } from '../testing/agents-fixture.ts'
import { journalContract } from './journal.contract.ts'

describe('the journal on LMDB', () => {
  journalContract(async (t) => ({ documents: await lmdbDocuments(t), eventLog: await agentsLog(t) }), { shuffles: 5, crashes: 100 })
})
