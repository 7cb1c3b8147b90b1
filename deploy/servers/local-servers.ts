import { join } from 'node:path'
import { KafkaServer } from './kafka-server.ts'
import type { ServerPorts } from './local-server.ts'
import { MongodbServer } from './mongodb-server.ts'
import { QuestdbServer } from './questdb-server.ts'

/** The three servers behind `cluster` engines, on this machine, their state and logs in one folder. */
export class LocalServers {
  readonly kafka: KafkaServer
  readonly questdb: QuestdbServer
  readonly mongodb: MongodbServer

  constructor(folder: string, ports: ServerPorts = {}, options: { mongodbInMemory?: boolean } = {}) {
    this.kafka = new KafkaServer({ folder: join(folder, 'kafka'), port: ports.kafka })
    this.questdb = new QuestdbServer({ folder: join(folder, 'questdb'), httpPort: ports.questdbHttp, pgPort: ports.questdbPg })
    this.mongodb = new MongodbServer({ folder: join(folder, 'mongodb'), port: ports.mongodb, inMemory: options.mongodbInMemory })
  }

  async start(): Promise<void> {
    await Promise.all([this.kafka.start(), this.questdb.start(), this.mongodb.start()])
  }

  async stop(): Promise<void> {
    await Promise.all([this.kafka.stop(), this.questdb.stop(), this.mongodb.stop()])
  }
}
