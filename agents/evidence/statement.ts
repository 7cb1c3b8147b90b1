import { createHash } from 'node:crypto'
import { evidenceId, type Evidence } from './evidence.ts'
import type { Tainted } from './tainted.ts'

/**
 * What an operator states, as evidence that can be cited as such: who, when, and the hash of what was said. It cannot be asked again and bears
 * no figure, so no claim can rest on it; the text itself stays in the conversation.
 */
export function operatorStatement(by: string, at: number, text: Tainted): Evidence {
  const textSha256 = createHash('sha256').update(text).digest('hex')
  const query = { kind: 'operator_statement', by, at, textSha256 } as const
  const content = { kind: query.kind, status: 'success' as const, asOf: at, query, result: {}, refs: [], truncated: false }
  return { id: evidenceId(content), ...content }
}
