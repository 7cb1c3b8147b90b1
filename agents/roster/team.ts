import type { AgentRole } from './agent-document.ts'

/** The agents that every tenant has from the beginning, one of each role. */
export const TEAM: readonly { agentId: AgentRole; name: string; bio: string; availableResources: string[] }[] = [
  { agentId: 'triage', name: 'Triage', bio: 'Looks at an incident first: how bad, how wide.', availableResources: ['incidents', 'alerts'] },
  {
    agentId: 'diagnostics',
    name: 'Diagnostics',
    bio: 'Runs the checks and keeps their evidence.',
    availableResources: ['readings', 'ledger', 'registry'],
  },
  {
    agentId: 'historian',
    name: 'Historian',
    bio: 'Looks for incidents that were like this one.',
    availableResources: ['incidents', 'summaries'],
  },
  { agentId: 'reporter', name: 'Reporter', bio: 'Writes the digest, and answers who asks.', availableResources: ['evidence', 'summaries'] },
  { agentId: 'dispatcher', name: 'Dispatcher', bio: 'Proposes what to do; people decide.', availableResources: ['proposals'] },
  { agentId: 'watchdog', name: 'Watchdog', bio: 'Watches the platform itself.', availableResources: ['operations'] },
]

/** In this order about an incident; the reporter has the last word. */
export const INCIDENT_PLAN: readonly string[] = ['agent:triage', 'agent:diagnostics', 'agent:historian', 'agent:reporter']
/** What is looked at again when an incident that was reported changed. */
export const RENEWAL_PLAN: readonly string[] = ['agent:diagnostics', 'agent:reporter']
/** About trouble of the platform itself: whoever watches it says what it sees. */
export const PLATFORM_PLAN: readonly string[] = ['agent:watchdog', 'agent:diagnostics', 'agent:historian', 'agent:reporter']
export const PLATFORM_RENEWAL_PLAN: readonly string[] = ['agent:watchdog', 'agent:diagnostics', 'agent:reporter']

/** Who speaks about an incident of this cause, when it opens and when it changed. */
export function plansOf(cause: string): { first: readonly string[]; again: readonly string[] } {
  return cause === 'platform'
    ? { first: PLATFORM_PLAN, again: PLATFORM_RENEWAL_PLAN }
    : { first: INCIDENT_PLAN, again: RENEWAL_PLAN }
}
