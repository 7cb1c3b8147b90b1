import { words } from '../ui/format.ts'
import { plain } from '../ui/plain.ts'

/** A participant for people: `agent:reporter` → Reporter, `user:ana` → ana. */
export function nameOf(participant: string): string {
  const at = participant.indexOf(':')
  const name = plain(participant.slice(at + 1))
  return participant.startsWith('agent:') ? words(name) : name
}

export function isAgent(participant: string): boolean {
  return participant.startsWith('agent:')
}
