import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { AuditTrail } from '../../contracts/audit.ts'
import { DEVICE_EVENT, type DeviceEvent } from '../../contracts/device-event.ts'
import { TOPICS } from '../../contracts/topics.ts'
import { utf8Text } from '../../kernel/bytes.ts'
import { silentLogger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { systemClock, type Clock } from '../../kernel/time.ts'
import type { LmdbDocuments } from '../../storage/documents/lmdb-documents.ts'
import { documentsIn, temporaryFolder } from '../../storage/documents/testing/lmdb-fixture.ts'
import type { EventLog, LogMessage } from '../../storage/event-log/event-log.ts'
import type { LmdbEventLog } from '../../storage/event-log/lmdb-event-log.ts'
import { openTemporaryLog, topicSpec } from '../../storage/event-log/temporary-log.ts'
import { registryConfig } from '../config.ts'
import { Registry } from '../registry.ts'
import { FollowingRegistryView } from '../registry-view.ts'

const PARTITIONS = 3

/** Both embedded stores in temporary folders. */
export interface Stores {
  documents: LmdbDocuments
  eventLog: LmdbEventLog
  clock: Clock
  log: typeof silentLogger
  registryConfig: ReturnType<typeof registryConfig>
  auditTrail?: AuditTrail
  /** Stopped before the stores, the last first. */
  stopAtEnd: (service: Service) => void
}

export async function openStores(t: TestContext): Promise<Stores>
export async function openStores(t: Pick<TestContext, 'after'>, folder: string): Promise<Stores>
export async function openStores(t: Pick<TestContext, 'after'>, folder?: string): Promise<Stores> {
  const directory = folder ?? (await temporaryFolder(t as TestContext))
  const documents = documentsIn(join(directory, 'documents'))
  await documents.start()
  const opened = await openTemporaryLog({ directory: join(directory, 'log') })
  await opened.log.ensureTopics([topicSpec(TOPICS.deviceEvents, PARTITIONS)])
  const services: Service[] = []
  t.after(async () => {
    for (const service of services.toReversed()) await service.stop()
    await opened.close()
    await documents.stop()
  })
  const config = registryConfig({ announceRetryMs: 50, retryMs: 20, pollWaitMs: 1_000 })
  return {
    documents,
    eventLog: opened.log,
    clock: systemClock,
    log: silentLogger,
    registryConfig: config,
    stopAtEnd: (service) => void services.push(service),
  }
}

export async function startRegistry(stores: Omit<Stores, 'eventLog'> & { eventLog: EventLog }): Promise<Registry> {
  const registry = new Registry(stores)
  await registry.start()
  stores.stopAtEnd(registry)
  return registry
}

export async function startView(stores: Omit<Stores, 'eventLog'> & { eventLog: EventLog }): Promise<FollowingRegistryView> {
  const view = new FollowingRegistryView(stores)
  await view.start()
  stores.stopAtEnd(view)
  return view
}

/** Every device event in the log, partition by partition. */
export async function deviceEvents(eventLog: EventLog): Promise<DeviceEvent[]> {
  const events: DeviceEvent[] = []
  for (const [partition, { first, next }] of await eventLog.bounds(TOPICS.deviceEvents)) {
    const records = next === first ? [] : await eventLog.read(TOPICS.deviceEvents, partition, first, next - first)
    for (const record of records) if (record.schema === DEVICE_EVENT) events.push(JSON.parse(utf8Text(record.value)) as DeviceEvent)
  }
  return events
}

/** Resolves when `holds` does; looks again after every few ms of real time. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 5_000): Promise<void> {
  const deadlineMs = systemClock.monotonicMs() + timeoutMs
  while (!(await holds())) {
    if (systemClock.monotonicMs() > deadlineMs) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await new Promise<void>((resolve) => systemClock.after(2, resolve))
  }
}

export interface UnreliableLog {
  eventLog: EventLog
  /** While set, appends fail. */
  failing: boolean
  /** Runs once, after the next append that succeeds and before its caller knows. */
  afterNextAppend: (() => Promise<void>) | undefined
}

/** The log, with trouble on demand. */
export function unreliable(eventLog: EventLog): UnreliableLog {
  const state: UnreliableLog = { failing: false, eventLog, afterNextAppend: undefined }
  state.eventLog = new Proxy(eventLog, {
    get(target, property) {
      if (property === 'append') {
        return async (topic: string, messages: readonly LogMessage[]) => {
          if (state.failing) throw new Error('the log takes nothing')
          const appended = await target.append(topic, messages)
          const run = state.afterNextAppend
          state.afterNextAppend = undefined
          await run?.()
          return appended
        }
      }
      const value: unknown = Reflect.get(target, property, target)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return state
}
