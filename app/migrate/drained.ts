import { TOPICS } from '../../contracts/topics.ts'
import { ConflictError } from '../../kernel/errors.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'

/** Who reads which topic to its end, by committed offsets. A test keeps the groups and the sources equal. */
export const GROUPS: readonly { group: string; topic: string }[] = [
  { group: 'processing', topic: TOPICS.readings },
  { group: 'anomaly-archive', topic: TOPICS.anomalies },
  { group: 'alerts', topic: TOPICS.anomalies },
  { group: 'incidents', topic: TOPICS.alerts },
  { group: 'webhooks', topic: TOPICS.alerts },
  { group: 'webhook-digests', topic: TOPICS.digests },
  { group: 'conversations', topic: TOPICS.alerts },
  { group: 'agent-memory-messages', topic: TOPICS.agentMessages },
  { group: 'agent-memory-devices', topic: TOPICS.deviceEvents },
  { group: 'journal-lifecycle', topic: TOPICS.agentLifecycle },
  { group: 'journal-chat-events', topic: TOPICS.chatEvents },
  { group: 'journal-status', topic: TOPICS.agentStatus },
  { group: 'journal-messages', topic: TOPICS.agentMessages },
  { group: 'journal-digests', topic: TOPICS.digests },
  { group: 'agent-reactions', topic: TOPICS.agentLifecycle },
  { group: 'registry', topic: TOPICS.deviceEvents },
  { group: 'revocation-policy', topic: TOPICS.deviceEvents },
  { group: 'rotation', topic: TOPICS.deviceEvents },
  { group: 'posture', topic: TOPICS.deviceEvents },
  { group: 'broker-downlinks', topic: TOPICS.commands },
  { group: 'decommission', topic: TOPICS.commands },
]

/**
 * Throws ConflictError unless everything in the log was read by everybody and is in the saved states: the log itself is not
 * moved, so what is only there would be lost.
 */
export async function checkDrained(eventLog: EventLog, documents: Documents): Promise<void> {
  const waiting: string[] = []
  const checkpoints = await documents.collection<{ readings: number; rejected: number }>({ name: 'checkpoints', indexes: [] })
  for (const topic of [TOPICS.readings, TOPICS.rejected] as const) {
    for (const [partition, { next }] of await eventLog.bounds(topic)) {
      const left = next - ((await checkpoints.get(`processing/${partition}`))?.[topic] ?? 0)
      if (left > 0) waiting.push(`${left} of ${topic} are not in the saved states`)
    }
  }
  for (const { group, topic } of GROUPS) {
    const consumer = await eventLog.consume({ group, topic })
    try {
      const lag = await consumer.lag()
      if (lag > 0) waiting.push(`${lag} of ${topic} were not read by ${group}`)
    } finally {
      await consumer.close()
    }
  }
  if (waiting.length === 0) return
  throw new ConflictError(`messages wait in the embedded event log, which is not moved: ${waiting.join('; ')}`, {
    remedy:
      'Start the embedded platform once with no devices connected, wait until /readyz answers 200 and nothing comes in, stop it with SIGTERM, then move.',
  })
}
