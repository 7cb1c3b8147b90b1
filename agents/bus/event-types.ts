import { TOPICS, type TopicName } from '../../contracts/topics.ts'

/** Every event of the agents' bus, and the topic it travels on. */
export const EVENT_TOPICS = {
  AgentIntroduced: TOPICS.agentLifecycle,
  AgentRetired: TOPICS.agentLifecycle,
  ManifestUpdated: TOPICS.agentLifecycle,
  ChatCreated: TOPICS.chatEvents,
  ChatUpdated: TOPICS.chatEvents,
  ChatDeleted: TOPICS.chatEvents,
  ParticipantJoined: TOPICS.chatEvents,
  ParticipantLeft: TOPICS.chatEvents,
  FloorRequested: TOPICS.chatEvents,
  FloorGranted: TOPICS.chatEvents,
  FloorReleased: TOPICS.chatEvents,
  FloorRevoked: TOPICS.chatEvents,
  ConversationTerminated: TOPICS.chatEvents,
  ProposalCreated: TOPICS.chatEvents,
  ProposalDecided: TOPICS.chatEvents,
  ProposalSettled: TOPICS.chatEvents,
  AgentStatusUpdated: TOPICS.agentStatus,
  AttentionChanged: TOPICS.agentStatus,
  MessageSent: TOPICS.agentMessages,
  MessageDelivered: TOPICS.agentMessages,
  MessageRead: TOPICS.agentMessages,
  SummaryPublished: TOPICS.digests,
  SummaryRated: TOPICS.digests,
} as const satisfies Record<string, TopicName>

export type EventType = keyof typeof EVENT_TOPICS
export const EVENT_TYPES = Object.keys(EVENT_TOPICS) as EventType[]

/** Every topic of the bus. */
export const BUS_TOPICS: readonly TopicName[] = [...new Set<TopicName>(Object.values(EVENT_TOPICS))]

export function isEventType(text: string): text is EventType {
  return Object.hasOwn(EVENT_TOPICS, text)
}
