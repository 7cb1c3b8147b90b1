import { serverAddress } from '../../test/testing/server-addresses.ts'
import { eventLogContract } from './event-log.contract.ts'
import { openKafkaLog } from './kafka-testing.ts'

eventLogContract('Kafka', () => openKafkaLog(serverAddress('kafka')))
