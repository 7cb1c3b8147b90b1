import type { Claim } from '../claim.ts'
import type { Draft } from '../draft.ts'
import type { Investigation } from '../investigation.ts'
import { partsOf, type TextPart } from '../slots.ts'
import { DIRECTIONS, GLUE, OPS_OF_WORD, SIGNED_OPS } from './words.ts'
import type { Fault } from './verdict.ts'

/** Letters and plain punctuation: a digit, a bracket, markup, a link or anything unseen is not among them. */
const PLAIN = /^[A-Za-z ,.;:'()-]*$/

type Faults = (code: Fault['code'], detail: string) => void

/** Every text of a draft: closed words, slots that exist, citations that are those of its claims and no others. */
export function checkTexts(draft: Draft, investigation: Investigation, fault: (where: string) => Faults): void {
  checkText(draft.headline, null, investigation, fault('headline'))
  for (const [index, sentence] of draft.sentences.entries()) {
    checkText(sentence.text, sentence.claims, investigation, fault(`sentences.${index}`))
  }
}

function checkText(text: string, listed: readonly string[] | null, investigation: Investigation, fault: Faults): void {
  const parts = partsOf(text)
  const claims = new Map(investigation.claims.map((claim) => [claim.id as string, claim]))
  const used = new Map<string, Claim>()
  const cited = new Set<string>()
  for (const part of parts) {
    if (part.kind === 'words') checkWords(part.text, fault)
    if (part.kind === 'citation') cited.add(part.evidence)
    if (part.kind !== 'claim') continue
    const claim = claims.get(part.claim)
    if (claim === undefined) fault('unknown_id', `there is no claim ${part.claim}`)
    else used.set(claim.id, claim)
  }
  if (listed !== null && !sameSet(listed, [...used.keys()])) fault('claims_differ', 'the listed claims are not those of the text')
  if (used.size === 0 && listed !== null) fault('no_figure', 'a sentence states nothing')
  const needed = [...used.values()].flatMap(({ evidence }) => evidence)
  if (!sameSet([...cited], needed)) fault('citations_differ', 'what is cited is not what the claims rest on')
  checkSubjects(parts, [...used.values()], investigation, fault)
  checkMeaning(parts, claims, fault)
}

function checkWords(text: string, fault: Faults): void {
  if (!PLAIN.test(text)) {
    fault('not_plain', 'only letters and plain punctuation may stand outside slots')
    return
  }
  for (const word of wordsOf(text)) {
    if (!GLUE.has(word) && !OPS_OF_WORD.has(word) && !DIRECTIONS.has(word))
      fault('unknown_word', 'a word that is not among those that may be used')
  }
}

function wordsOf(text: string): string[] {
  return text
    .toLowerCase()
    .split(/[^a-z]+/)
    .filter((word) => word !== '')
}

/** A device or metric that is named is one that a figure of the sentence is about. */
function checkSubjects(parts: readonly TextPart[], used: readonly Claim[], { names }: Investigation, fault: Faults): void {
  for (const part of parts) {
    if (part.kind === 'device' && (!Object.hasOwn(names.devices, part.handle) || !used.some(({ device }) => device === part.handle)))
      fault('wrong_subject', `no figure of it is about ${part.handle}`)
    if (part.kind === 'metric' && (!Object.hasOwn(names.metrics, part.handle) || !used.some(({ metric }) => metric === part.handle)))
      fault('wrong_subject', `no figure of it is about ${part.handle}`)
  }
  const named = new Set(parts.flatMap((part) => (part.kind === 'metric' ? [part.handle] : [])))
  const [first] = named
  const ofMetric = used.filter(({ metric }) => metric !== null)
  if (first !== undefined && ofMetric.some(({ metric }) => metric !== first)) fault('wrong_subject', 'figures of another metric')
}

/** Content words stand beside the figure that says so; a direction before a figure that goes that way; a name before its own figure. */
function checkMeaning(parts: readonly TextPart[], claims: ReadonlyMap<string, Claim>, fault: Faults): void {
  const figureAt = (from: number, step: 1 | -1): Claim | undefined => {
    for (let at = from + step; at >= 0 && at < parts.length; at += step) {
      const part = parts[at]
      if (part?.kind === 'claim' && part.field === 'value') return claims.get(part.claim)
    }
    return undefined
  }
  for (const [index, part] of parts.entries()) {
    const next = figureAt(index, 1)
    if (part.kind === 'claim' && part.field !== 'value' && next?.id !== part.claim)
      fault('wrong_figure', 'a name or direction before the figure of another claim')
    if (part.kind === 'claim' && part.field === 'direction' && !isSigned(claims.get(part.claim)))
      fault('no_direction', 'a figure without a direction')
    if (part.kind !== 'words') continue
    const near = [next, figureAt(index, -1)].filter((claim) => claim !== undefined)
    for (const word of wordsOf(part.text)) {
      const ops = OPS_OF_WORD.get(word)
      if (ops !== undefined && !near.some(({ op }) => ops.includes(op)))
        fault('wrong_figure', 'a word beside a figure that does not say so')
      const direction = DIRECTIONS.get(word)
      if (direction !== undefined && (next === undefined || !SIGNED_OPS.has(next.op) || Math.sign(next.value) !== direction))
        fault('wrong_direction', 'a direction that the next figure does not have')
    }
  }
}

function isSigned(claim: Claim | undefined): boolean {
  return claim !== undefined && SIGNED_OPS.has(claim.op)
}

export function sameSet(a: readonly string[], b: readonly string[]): boolean {
  const [one, other] = [new Set(a), new Set(b)]
  return one.size === other.size && [...one].every((entry) => other.has(entry))
}
