/** Event-log topics, before the configurable prefix (default `fleetpulse.`). */
export const TOPICS = {
  readings: 'readings',
  rejected: 'rejected',
  late: 'late',
  windows: 'windows',
  anomalies: 'anomalies',
  alerts: 'alerts',
  digests: 'digests',
  feedback: 'feedback',
  deviceEvents: 'device-events',
  commands: 'commands',
  agentLifecycle: 'agents.lifecycle',
  chatEvents: 'agents.chat-events',
  agentStatus: 'agents.status',
  agentMessages: 'agents.messages',
} as const

export type TopicName = (typeof TOPICS)[keyof typeof TOPICS]

/** Key of every message about a device: one device's messages stay in one partition, in order. */
export function deviceKey(tenant: string, device: string): string {
  return `${tenant}/${device}`
}
