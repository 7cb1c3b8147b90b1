import type { Principal } from '../../contracts/authorisation.ts'
import type { ChatRole, Participant } from '../../contracts/conversation.ts'

/** What can be done in a conversation. */
export const CHAT_ACTIONS = ['read', 'join', 'speak', 'invite', 'remove', 'terminate', 'delete'] as const
export type ChatAction = (typeof CHAT_ACTIONS)[number]

const RIGHTS: Readonly<Record<ChatRole, ReadonlySet<ChatAction>>> = {
  owner: new Set(CHAT_ACTIONS),
  admin: new Set(['read', 'join', 'speak', 'invite', 'remove', 'terminate']),
  member: new Set(['read', 'join', 'speak', 'terminate']),
  guest: new Set(['read', 'join']),
}

/** The name under which somebody takes part. */
export function participantOf({ kind, id }: Pick<Principal, 'kind' | 'id'>): string {
  return `${kind}:${id}`
}

/**
 * The role that somebody has in a conversation: the one it was given there, or what its role in the platform gives to whoever comes. Null:
 * a stranger. A private conversation is open to its two alone.
 */
export function roleIn(conversation: { chatType: string; participants: readonly Participant[] }, principal: Principal): ChatRole | null {
  const own = conversation.participants.find(({ id }) => id === participantOf(principal))
  // Whoever was there when the round ended comes back as what it was.
  const isIts = own?.leftAt === null || own?.leftWhy === 'ended' || conversation.chatType === 'private'
  if (own !== undefined && isIts) return own.role
  if (conversation.chatType === 'private') return null
  const given = defaultRole(principal)
  return own === undefined ? given : (given ?? own.role)
}

/** As what somebody joins. */
export function defaultRole({ kind, roles }: Principal): ChatRole | null {
  if (kind === 'system') return 'owner'
  if (kind !== 'user' && kind !== 'api-key') return null
  if (roles.includes('admin')) return 'admin'
  if (roles.includes('operator')) return 'member'
  return roles.includes('viewer') ? 'guest' : null
}

export function mayIn(role: ChatRole | null, action: ChatAction): boolean {
  return role !== null && RIGHTS[role].has(action)
}
