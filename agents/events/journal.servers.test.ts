import { describe } from 'node:test'
import { mongodbDocuments } from '../../storage/documents/testing/mongodb-fixture.ts'
import { openKafkaLog } from '../../storage/event-log/kafka-testing.ts'
import { topicSpec } from '../../storage/event-log/temporary-log.ts'
import { serverAddress } from '../../test/testing/server-addresses.ts'
import { BUS_TOPICS } from '../bus/event-types.ts'
import { journalContract } from './journal.contract.ts'

describe('the journal on MongoDB and Kafka', () => {
  journalContract(
    async (t) => {
      const documents = await mongodbDocuments(t, { url: serverAddress('mongodb') })
      const { log, dispose } = await openKafkaLog(serverAddress('kafka'))
      t.after(dispose)
      await log.ensureTopics(BUS_TOPICS.flatMap((topic) => [topicSpec(topic, 3), topicSpec(`${topic}.dlq`, 3)]))
      return { documents, eventLog: log }
    },
    { shuffles: 3, crashes: 100 },
  )
})
