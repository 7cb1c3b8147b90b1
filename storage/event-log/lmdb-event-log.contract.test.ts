import { eventLogContract } from './event-log.contract.ts'
import { openTemporaryLog } from './temporary-log.ts'

eventLogContract('LMDB', openTemporaryLog)
