import type { Incident } from '../../contracts/incident.ts'
import type { Clock } from '../../kernel/time.ts'
import type { EvidenceStore } from '../evidence/evidence-store.ts'
import { operatorStatement } from '../evidence/statement.ts'
import { tainted } from '../evidence/tainted.ts'
import type { SummaryStore } from '../summary/summary-store.ts'
import type { Memories } from './memories.ts'
import { KEEPER } from './memory-document.ts'
import { memoryWords } from './memory-words.ts'

export interface HistorianMemoryOptions {
  memories: Memories
  evidence: EvidenceStore
  summaries: SummaryStore
  clock: Clock
}

/** The historian's memory: how incidents ended, by cause and device type, and what people stated of devices. */
export class HistorianMemory {
  readonly #options: HistorianMemoryOptions

  constructor(options: HistorianMemoryOptions) {
    this.#options = options
  }

  /** What bears on this incident, in words for people; statements are cited, as evidence of this incident. */
  async recall({ tenant, id, devices, type }: Incident, causes: readonly string[]): Promise<{ lines: string[]; evidence: string[] }> {
    const { memories, evidence } = this.#options
    const recall = await memories.recall({ tenant, agent: KEEPER, devices, type, causes, except: id })
    const cited = recall.statements.map((each) => operatorStatement(each.by ?? '', each.at, tainted(each.content ?? '')))
    await evidence.keep(tenant, id, cited)
    const ids = new Map(recall.statements.map((each, i) => [each.id, cited[i]?.id ?? '']))
    return { lines: memoryWords(recall, (statement) => ids.get(statement.id) ?? ''), evidence: [...ids.values()] }
  }

  /** What is remembered of an incident that is over. The same end is remembered once. */
  async remember({ tenant, id, devices, type, openedAt, resolvedAt, acknowledgedBy }: Incident): Promise<void> {
    const { memories, summaries, clock } = this.#options
    const at = resolvedAt ?? clock.nowMs()
    const newest = await summaries.newest(tenant, id)
    await memories.learn({
      ...{ tenant, of: `${id}/${at}`, agent: KEEPER, kind: 'resolution', incident: id, devices, type, content: null, by: null, at },
      ...{ cause: newest?.summary.causes[0]?.code ?? null, tookMs: Math.max(0, at - openedAt) },
      resolution: acknowledgedBy === null ? 'by-itself' : 'operator',
    })
  }
}
