import type { Author as Named } from '../../contracts/conversation.ts'
import { displayText, tainted } from '../evidence/tainted.ts'

/** Who put a digest into words. */
export type Author = { kind: 'local' } | { kind: 'llm'; provider: string; model: string }

/** Provider and model are names from our own configuration; shown short all the same. */
const NAME_LENGTH_MAX = 64

const LOCAL_LABEL = 'Written by rules and statistics, no language model'

/** Stands with every digest, wherever it is shown. */
export function authorLabel(author: Author): string {
  if (author.kind === 'local') return LOCAL_LABEL
  const name = (text: string): string => displayText(tainted(text), NAME_LENGTH_MAX)
  return `Worded by ${name(author.provider)}/${name(author.model)}, figures checked`
}

/** The author as it is told outside. */
export function namedAuthor(author: Author): Named {
  if (author.kind === 'local') return { kind: 'local', provider: null, model: null }
  return { kind: 'model', provider: author.provider, model: author.model }
}

/** Whom a label names, for what has no other word of its author. */
export function authorOfLabel(label: string): Named {
  if (label === LOCAL_LABEL) return namedAuthor({ kind: 'local' })
  const [, provider = null, model = null] = /^Worded by ([^/]+)\/(.*), figures checked$/.exec(label) ?? []
  return { kind: 'model', provider, model }
}
