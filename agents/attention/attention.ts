import type { Severity } from '../../contracts/alert.ts'

/** A dialogue that wants an agent's attention. */
export interface Dialogue {
  conversation: string
  severity: Severity
  deviceCount: number
  /** Where it is about; sites take turns. */
  site: string
  /** Since when it waits, epoch ms. */
  since: number
  /** When it must be done, epoch ms. */
  deadlineAt: number
  /** How often this agent spoke in it: what it has begun it goes on with. */
  turnsTaken: number
  /** Somebody who is there waits for an answer. */
  isHuman: boolean
  /** The agent was in the middle of it when its process ended. */
  wasFocus: boolean
}

const SEVERITY: Readonly<Record<Severity, number>> = { warning: 1, critical: 2 }
/** Points of a dialogue whose deadline is now; half of that a `DEADLINE_HALF_MS` before. */
const DEADLINE_POINTS = 60
const DEADLINE_HALF_MS = 30_000
const HUMAN_POINTS = 150
const RELATION_POINTS = 5
const RELATION_TURNS_MAX = 4
const FOCUS_POINTS = 20
const POINTS_PER_MINUTE = 2
/** Dialogues that are so near to the best are alike: between them sites take turns. Less than what a step of severity is worth. */
const ALIKE_POINTS = 50

/** How much a dialogue matters now: task, size, deadline, relationship, and how long it has waited. */
export function score(dialogue: Dialogue, nowMs: number): number {
  const { severity, deviceCount, deadlineAt, turnsTaken, isHuman, wasFocus, since } = dialogue
  const left = Math.max(0, deadlineAt - nowMs)
  return (
    100 * SEVERITY[severity] +
    10 * Math.log2(1 + Math.max(0, deviceCount)) +
    DEADLINE_POINTS * (DEADLINE_HALF_MS / (DEADLINE_HALF_MS + left)) +
    RELATION_POINTS * Math.min(turnsTaken, RELATION_TURNS_MAX) +
    (isHuman ? HUMAN_POINTS : 0) +
    (wasFocus ? FOCUS_POINTS : 0) +
    POINTS_PER_MINUTE * (Math.max(0, nowMs - since) / 60_000)
  )
}

/** What a site has saved up while others had their turns; below 0: it had more than its share. */
export interface SiteCredit {
  site: string
  credit: number
}

/** Share of a site in the turns, 1 and more. */
export type SiteWeight = (site: string) => number

interface Candidate<D> {
  dialogue: D
  points: number
}

/**
 * The dialogue that comes next. One that has waited for `starvingMs` comes before all others, the longest first. Else the score decides which
 * come into question, and of those the sites take turns by smooth weighted round robin: each site that waits saves up its weight, the one that
 * saved most is chosen and pays what all saved. Answers the credits as they are then: of sites that wait, and no others.
 */
export function selectNext<D extends Dialogue>(
  dialogues: readonly D[],
  credits: readonly SiteCredit[],
  nowMs: number,
  { starvingMs, weightOf = () => 1 }: { starvingMs: number; weightOf?: SiteWeight },
): { dialogue: D; credits: SiteCredit[] } | null {
  const oldest = best(dialogues.map((dialogue) => ({ dialogue, points: nowMs - dialogue.since })))
  if (oldest === null) return null
  const saved = new Map(credits.map(({ site, credit }) => [site, credit]))
  const waiting = new Set(dialogues.map(({ site }) => site))
  const kept = (): SiteCredit[] => [...waiting].map((site) => ({ site, credit: saved.get(site) ?? 0 }))
  if (oldest.points >= starvingMs) return { dialogue: oldest.dialogue, credits: kept() }
  const scored = dialogues.map((dialogue) => ({ dialogue, points: score(dialogue, nowMs) }))
  const top = Math.max(...scored.map(({ points }) => points))
  const alike = scored.filter(({ points }) => points >= top - ALIKE_POINTS)
  const firsts = new Map<string, Candidate<D>>()
  for (const candidate of alike) {
    const { site } = candidate.dialogue
    firsts.set(site, best([candidate, ...(firsts.get(site) === undefined ? [] : [firsts.get(site) as Candidate<D>])]) as Candidate<D>)
  }
  let all = 0
  for (const site of firsts.keys()) {
    all += weightOf(site)
    saved.set(site, (saved.get(site) ?? 0) + weightOf(site))
  }
  const most = Math.max(...[...firsts.keys()].map((site) => saved.get(site) ?? 0))
  const chosen = best([...firsts.values()].filter(({ dialogue }) => (saved.get(dialogue.site) ?? 0) === most)) as Candidate<D>
  saved.set(chosen.dialogue.site, most - all)
  return { dialogue: chosen.dialogue, credits: kept() }
}

/** Most points; of equals the one whose id is first, so that every process chooses alike. */
function best<D extends Dialogue>(candidates: readonly Candidate<D>[]): Candidate<D> | null {
  let found: Candidate<D> | null = null
  for (const each of candidates) {
    const isBetter =
      found === null ||
      each.points > found.points ||
      (each.points === found.points && each.dialogue.conversation < found.dialogue.conversation)
    if (isBetter) found = each
  }
  return found
}
