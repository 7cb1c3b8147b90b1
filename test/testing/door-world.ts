import { join } from 'node:path'
import type { Static, TSchema } from 'typebox'
import { TOPICS } from '../../contracts/topics.ts'
import { FollowingRegistryView } from '../../device-registry/registry-view.ts'
import { Registry } from '../../device-registry/registry.ts'
import { IngestConfigSchema } from '../../ingest/config.ts'
import { Ingest } from '../../ingest/ingest.ts'
import { MqttDoorConfigSchema, type MqttDoorConfig } from '../../ingest/mqtt-door-config.ts'
import { MqttDoor } from '../../ingest/mqtt-door.ts'
import { silentLogger } from '../../kernel/log.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { seededRandom } from '../../kernel/random.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { systemClock } from '../../kernel/time.ts'
import { DocumentsConfigSchema } from '../../storage/documents/config.ts'
import { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { openTemporaryLog } from '../../storage/event-log/temporary-log.ts'

export function configOf<S extends TSchema>(schema: S, changes: object = {}): Static<S> {
  const checked = compileSchema(schema)({ ...changes })
  if (checked.status === 'invalid') throw new TypeError(JSON.stringify(checked.faults))
  return checked.value
}

/** What stands between a foreign MQTT broker and the log, on real stores in a folder. `wrap` may put something between ingest and the log. */
export async function openDoorWorld(folder: string, wrap: (log: EventLog) => EventLog = (log) => log) {
  const common = { clock: systemClock, log: silentLogger, random: seededRandom('door') }
  const documents = new LmdbDocuments({
    ...common,
    metrics: new Metrics(),
    directory: join(folder, 'documents'),
    config: configOf(DocumentsConfigSchema),
  })
  await documents.start()
  const opened = await openTemporaryLog({ directory: join(folder, 'log') })
  const eventLog = opened.log
  const topics = [...Object.values(TOPICS), `${TOPICS.readings}.dlq`]
  await eventLog.ensureTopics(topics.map((topic) => ({ topic, partitions: 1, retentionBytes: 0, retentionMs: 0 })))
  const stores = { ...common, documents, eventLog }
  const registry = new Registry(stores)
  const registryView = new FollowingRegistryView(stores)
  const ingest = new Ingest({
    ...common,
    metrics: new Metrics(),
    registry: registryView,
    documents,
    eventLog: wrap(eventLog),
    config: configOf(IngestConfigSchema),
  })
  for (const service of [registry, registryView, ingest]) await service.start()
  const doors: MqttDoor[] = []
  return {
    ...stores,
    registry,
    registryView,
    /** A door of this process, started; more than one stand for processes of their own. */
    async door(processId: string, config: Partial<MqttDoorConfig>): Promise<MqttDoor> {
      const metrics = new Metrics()
      const door = new MqttDoor({
        ...common,
        metrics,
        uplinks: ingest,
        registryView,
        registrar: registry,
        processId,
        config: configOf(MqttDoorConfigSchema, config),
      })
      doors.push(door)
      await door.start()
      return door
    },
    async close(): Promise<void> {
      for (const door of doors) await door.stop()
      for (const service of [ingest, registryView, registry]) await service.stop()
      await opened.close()
      await documents.stop()
    },
  }
}

export type DoorWorld = Awaited<ReturnType<typeof openDoorWorld>>
