import type { ChangeKind, RegistryChange } from '../../agents/evidence/sources.ts'
import type { AuditEntry } from '../../contracts/audit.ts'

/** What an act is about, by the noun of its action. What is not here changes nothing that a device does. */
const KINDS: Readonly<Record<string, ChangeKind>> = {
  firmware: 'firmware',
  rollout: 'firmware',
  config: 'config',
  twin: 'config',
  command: 'config',
  certificate: 'certificate',
  'device-type': 'type',
}

/** The change that an audited act made to a device or its type; null where it made none. */
export function changeOf(entry: AuditEntry, device: string): RegistryChange | null {
  if (entry.outcome !== 'done') return null
  const kind = kindOf(entry)
  return kind === null ? null : { id: `${entry.tenant}/${entry.seq}`, at: entry.at, kind, device: kind === 'type' ? null : device }
}

function kindOf({ action, before, after }: AuditEntry): ChangeKind | null {
  const [noun = '', verb = ''] = action.split('.')
  if (noun !== 'device') return KINDS[noun] ?? null
  // Labels are the operators' own; a type decides what a device may say.
  const has = (part: unknown, field: string): boolean => typeof part === 'object' && part !== null && field in part
  if (has(after, 'firmware') || has(before, 'firmware')) return 'firmware'
  if (has(after, 'state')) return 'lifecycle'
  if (has(after, 'type') && verb !== 'create') return 'type'
  return null
}
