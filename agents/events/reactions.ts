import { NotFoundError } from '../../kernel/errors.ts'
import type { BusEvent } from '../bus/envelope.ts'
import type { ConversationService } from '../conversation/conversation-service.ts'
import type { Roster } from '../roster/roster.ts'

/**
 * What the coming and going of agents asks for. Whoever retires one withdraws it from its conversations at once; what that did not get to,
 * because its process died, is done here.
 */
export function reactionTo(agents: {
  roster: Pick<Roster, 'get'>
  conversations: Pick<ConversationService, 'withdrawAgent'>
}): (event: BusEvent) => Promise<void> {
  return async ({ type, tenant, data }) => {
    if (type !== 'AgentRetired') return
    const agent = String(data.agentId)
    // One that came back meanwhile takes part again.
    if ((await statusOf(agents.roster, tenant, agent)) === 'retired') await agents.conversations.withdrawAgent(tenant, agent)
  }
}

async function statusOf(roster: Pick<Roster, 'get'>, tenant: string, agent: string): Promise<string | null> {
  try {
    return (await roster.get(tenant, agent)).status
  } catch (error) {
    if (error instanceof NotFoundError) return null
    throw error
  }
}
