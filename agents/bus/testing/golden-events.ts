import type { EventType } from '../event-types.ts'

const timestamp = '2026-11-21T20:00:00.000Z'
const manifest = { role: 'reporter', brain: 'local', status: 'idle' }
const profile = { ...manifest, name: 'Reporter', bio: 'Writes the digest.', availableResources: ['evidence'] }
const floor = { chatId: 'inc_42', agentId: 'agent:reporter', floorEpoch: 5, timestamp }

/** One event of every type and version as it was told. They are never edited: a change of a schema must go on reading them. */
export const GOLDEN_EVENTS: Readonly<Record<EventType, readonly Record<string, unknown>[]>> = {
  AgentIntroduced: [
    { eventType: 'AgentIntroduced', agentId: 'reporter', manifest, timestamp },
    { eventType: 'AgentIntroduced', agentId: 'reporter', manifest: profile, timestamp },
  ],
  AgentRetired: [{ eventType: 'AgentRetired', agentId: 'reporter', timestamp }],
  ManifestUpdated: [
    { eventType: 'ManifestUpdated', agentId: 'reporter', manifest, timestamp },
    { eventType: 'ManifestUpdated', agentId: 'reporter', manifest: profile, timestamp },
  ],
  ChatCreated: [
    { eventType: 'ChatCreated', chatId: 'inc_42', creatorId: 'system', participants: ['agent:triage'], timestamp },
    {
      ...{ eventType: 'ChatCreated', chatId: 'inc_42', creatorId: 'system', participants: ['agent:triage'] },
      ...{ roles: { 'agent:triage': 'member' }, chatType: 'group', incidentId: 'inc_42', timestamp },
    },
  ],
  ChatUpdated: [{ eventType: 'ChatUpdated', chatId: 'inc_42', change: 'reopened', timestamp }],
  ChatDeleted: [{ eventType: 'ChatDeleted', chatId: 'inc_42', timestamp }],
  ParticipantJoined: [{ eventType: 'ParticipantJoined', chatId: 'inc_42', agentId: 'user:ana', role: 'member', timestamp }],
  ParticipantLeft: [{ eventType: 'ParticipantLeft', chatId: 'inc_42', agentId: 'user:ana', reason: 'left', timestamp }],
  FloorRequested: [{ eventType: 'FloorRequested', chatId: 'inc_42', agentId: 'agent:triage', priority: 1, timestamp }],
  FloorGranted: [{ eventType: 'FloorGranted', ...floor }],
  FloorReleased: [{ eventType: 'FloorReleased', ...floor }],
  FloorRevoked: [{ eventType: 'FloorRevoked', ...floor }],
  ConversationTerminated: [{ eventType: 'ConversationTerminated', chatId: 'inc_42', reason: 'goal_met', round: 1, turns: 4, timestamp }],
  ProposalCreated: [
    {
      eventType: 'ProposalCreated',
      proposalId: 'pr_1',
      chatId: 'inc_42',
      kind: 'device.quarantine',
      target: 'pump-17',
      diffHash: 'ab12',
      timestamp,
    },
  ],
  ProposalDecided: [{ eventType: 'ProposalDecided', proposalId: 'pr_1', chatId: 'inc_42', state: 'approved', by: 'user:ana', timestamp }],
  ProposalSettled: [{ eventType: 'ProposalSettled', proposalId: 'pr_1', chatId: 'inc_42', state: 'done', outcome: 'done', timestamp }],
  AgentStatusUpdated: [
    { eventType: 'AgentStatusUpdated', agentId: 'reporter', newStatus: 'busy', timestamp },
    { eventType: 'AgentStatusUpdated', agentId: 'reporter', newStatus: 'busy', focus: 'inc_42', runState: 'generating', timestamp },
  ],
  AttentionChanged: [{ eventType: 'AttentionChanged', agentId: 'reporter', focus: null, waiting: 3, timestamp }],
  SummaryPublished: [
    {
      ...{
        eventType: 'SummaryPublished',
        chatId: 'inc_42',
        incident: 'inc_42',
        revision: 1,
        headline: 'pump-17 vibration rose',
        level: 'LIKELY',
      },
      ...{ label: 'Written by rules and statistics, no language model', evidenceHash: 'ab12', timestamp },
      sections: [{ title: 'What happened', lines: ['vibration rose'] }],
    },
    {
      ...{
        eventType: 'SummaryPublished',
        chatId: 'inc_42',
        incident: 'inc_42',
        revision: 2,
        headline: 'pump-17 vibration rose',
        level: 'LIKELY',
      },
      ...{ label: 'Worded by compatible/model-1, figures checked', evidenceHash: 'ab12', timestamp, publishedAt: 1_795_291_200_000 },
      author: { kind: 'model', provider: 'compatible', model: 'model-1' },
      sections: [{ title: 'What happened', lines: ['vibration rose'] }],
      ...{ causes: [{ code: 'sensor_fault.drift', level: 'LIKELY' }], evidence: ['ev_a1'] },
    },
  ],
  SummaryRated: [
    {
      ...{ eventType: 'SummaryRated', chatId: 'inc_42', incident: 'inc_42', revision: 1 },
      ...{ by: 'user:ana', verdict: 'right', stars: 4, timestamp },
    },
  ],
  MessageDelivered: [{ eventType: 'MessageDelivered', chatId: 'inc_42', agentId: 'user:ana', seq: 12, timestamp }],
  MessageRead: [{ eventType: 'MessageRead', chatId: 'inc_42', agentId: 'user:ana', seq: 12, timestamp }],
  MessageSent: [
    { eventType: 'MessageSent', messageId: 'msg_9f', from: 'diagnostics', to: null, chatId: 'inc_42', content: 'drift', timestamp },
    {
      ...{ eventType: 'MessageSent', messageId: 'msg_9f', from: 'agent:diagnostics', to: null, chatId: 'inc_42', content: 'drift' },
      ...{ seq: 12, kind: 'finding', floorEpoch: 5, claims: ['c1'], evidence: ['ev_a1', 'ev_b2'], timestamp },
    },
  ],
}
