import type { EvidenceKind } from '../../evidence/evidence.ts'
import { CAUSES, LEVELS, type Level } from '../../causes/catalogue.ts'
import { RUNBOOKS } from '../../causes/runbooks.ts'
import type { Draft } from '../draft.ts'
import type { Investigation } from '../investigation.ts'
import { sameSet } from './text-rules.ts'
import type { Fault } from './verdict.ts'

type FaultAt = (code: Fault['code'], where: string, detail: string) => void

const rank = (level: Level): number => LEVELS.indexOf(level)

/** A draft names causes that were found, none surer than they are, with what they rest on; and a level is no more than that bears. */
export function checkCauses({ causes, checks }: Draft, investigation: Investigation, fault: FaultAt): void {
  const found = new Map(investigation.causes.map((cause) => [cause.code, cause]))
  if (new Set(causes.map(({ code }) => code)).size < causes.length) fault('unknown_cause', 'causes', 'a cause stands twice')
  if (causes[0]?.code !== investigation.causes[0]?.code)
    fault('missing_fact', 'causes', 'the first cause is not the one that was found first')
  for (const [index, { code, level, evidence }] of causes.entries()) {
    const where = `causes.${index}`
    const known = found.get(code)
    if (known === undefined) {
      fault('unknown_cause', where, 'a cause that was not found')
      continue
    }
    if (rank(level) > rank(known.level)) fault('raised_level', where, 'a cause may be lowered, never raised')
    if (!sameSet(evidence, known.evidence)) fault('citations_differ', where, 'what is cited is not what the cause rests on')
    checkLevel(code, level, evidence, investigation, (faultCode, detail) => fault(faultCode, where, detail))
  }
  const wanted = new Set(causes.map(({ code }) => CAUSES[code].runbook as string))
  if (!checks.every((id) => Object.hasOwn(RUNBOOKS, id) && wanted.has(id)))
    fault('wrong_runbook', 'checks', 'a runbook of a cause that is not named')
  const first = causes[0]
  if (first !== undefined && !checks.includes(CAUSES[first.code].runbook))
    fault('wrong_runbook', 'checks', 'the runbook of the first cause is missing')
}

function checkLevel(
  code: keyof typeof CAUSES,
  level: Level,
  evidence: readonly string[],
  investigation: Investigation,
  fault: (code: Fault['code'], detail: string) => void,
): void {
  const cited = evidence.flatMap((handle) => investigation.evidence[handle as `E${number}`] ?? [])
  if (cited.length < evidence.length) fault('unknown_id', 'evidence that does not exist')
  const kinds = new Set(cited.filter(({ status }) => status === 'success').map(({ kind }) => kind))
  const needs: readonly EvidenceKind[] = CAUSES[code].needs
  const isBased = needs.length === 0 || needs.some((kind) => kinds.has(kind))
  if (level === 'CONFIRMED' && kinds.size < 2) fault('weak_level', 'CONFIRMED needs two kinds of evidence')
  if (level !== 'INCONCLUSIVE' && (!isBased || kinds.size === 0)) fault('weak_level', 'nothing of the kind that it needs stands behind it')
  if (level !== 'INCONCLUSIVE' && code === 'unknown') fault('weak_level', 'the unknown is never sure')
}
