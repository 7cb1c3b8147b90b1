import { CAUSE_CODES } from '../../agents/causes/catalogue.ts'
import { RUNBOOK_IDS } from '../../agents/causes/runbooks.ts'
import { evidenceId, type Evidence } from '../../agents/evidence/evidence.ts'
import { CLAIM_OPS, CLAIM_OP_NAMES, CLAIM_UNITS, type Claim, type EvidenceHandle } from '../../agents/summary/claim.ts'
import type { Submission } from '../../agents/summary/verifier/verify.ts'
import { integerBetween, type Random } from '../../kernel/random.ts'

/** Makes one thing of a true digest false; answers false where there is nothing of the kind in it. */
type Mutation = (submission: Submission, random: Random) => boolean

function pick<T>(items: readonly T[], random: Random): T | undefined {
  return items.length === 0 ? undefined : items[integerBetween(random, 0, items.length - 1)]
}

/** A claim that satisfies a condition, changed. */
function claim(
  change: (claim: Claim, submission: Submission, random: Random) => void,
  fits: (claim: Claim) => boolean = () => true,
): Mutation {
  return (submission, random) => {
    const found = pick(submission.investigation.claims.filter(fits), random)
    if (found === undefined) return false
    change(found, submission, random)
    return true
  }
}

/** A sentence's text, changed; false when that changes nothing. */
function text(change: (text: string, submission: Submission, random: Random) => string): Mutation {
  return (submission, random) => {
    const sentence = pick(submission.draft.sentences, random)
    if (sentence === undefined) return false
    const changed = change(sentence.text, submission, random)
    if (changed === sentence.text) return false
    sentence.text = changed
    return true
  }
}

function wrongFigure(value: number, random: Random): number {
  return value === 0 ? integerBetween(random, 1, 9) : value * (1 + (random.next() < 0.5 ? -1 : 1) * (0.01 + random.next()))
}

/** Evidence, claim and id agree with each other, and not with the sources. */
const forgedWhole: Mutation = (submission, random) => {
  const { claims, evidence } = submission.investigation
  const one = pick(claims, random)
  const handle = one?.evidence[0]
  if (one === undefined || handle === undefined) return false
  const forged = structuredClone(evidence[handle]) as Evidence
  const value = wrongFigure(one.value, random)
  forged.result = { ...forged.result, [CLAIM_OPS[one.op].field]: value }
  forged.id = evidenceId(forged)
  evidence[handle] = forged
  one.value = value
  return true
}

export const MUTATIONS: Readonly<Record<string, Mutation>> = {
  'value changed': claim((one, _submission, random) => (one.value = wrongFigure(one.value, random))),
  'sign turned': claim(
    (one) => (one.value = -one.value),
    ({ value, unit }) => value !== 0 && (unit === 'metric' || unit === 'spreads'),
  ),
  'unit changed': claim(
    (one, _submission, random) =>
      (one.unit = pick(
        CLAIM_UNITS.filter((unit) => unit !== one.unit),
        random,
      ) as Claim['unit']),
  ),
  'op changed': (submission, random) => {
    const { claims, evidence } = submission.investigation
    // Of another figure: what happens to be as large as the first one is not false.
    const others = claims.flatMap((one) => {
      const result = evidence[one.evidence[0] as EvidenceHandle]?.result ?? {}
      return CLAIM_OP_NAMES.filter((op) => op !== one.op && result[CLAIM_OPS[op].field] !== one.value).map((op) => ({ one, op }))
    })
    const found = pick(others, random)
    if (found !== undefined) found.one.op = found.op
    return found !== undefined
  },
  'kind changed': claim((one) => (one.kind = one.kind === 'reading' ? 'gap' : 'reading')),
  'device changed': claim((one) => (one.device = one.device === null ? 'D1' : null)),
  'metric changed': claim(
    (one) => (one.metric = one.metric === null ? 'M1' : one.metric === 'M1' ? 'M2' : 'M1'),
    ({ metric, kind }) => metric !== null || kind !== 'registry_fact',
  ),
  'window moved': claim(
    (one) => (one.window = one.window === null ? { from: 0, to: 1 } : { from: one.window.from - 3_600_000, to: one.window.to }),
  ),
  'evidence of another claim': claim((one, { investigation }, random) => {
    const others = (Object.keys(investigation.evidence) as EvidenceHandle[]).filter((handle) => handle !== one.evidence[0])
    one.evidence = [pick(others, random) ?? 'E999']
  }),
  'evidence that does not exist': claim((one) => (one.evidence = ['E999'])),
  'no evidence': claim((one) => (one.evidence = [])),
  'evidence changed': (submission, random) => {
    const handle = pick(Object.keys(submission.investigation.evidence) as EvidenceHandle[], random)
    const evidence = handle === undefined ? undefined : submission.investigation.evidence[handle]
    const field = pick(Object.keys(evidence?.result ?? {}), random)
    if (evidence === undefined || handle === undefined || field === undefined) return false
    submission.investigation.evidence[handle] = { ...evidence, result: { ...evidence.result, [field]: 12_345 } }
    return true
  },
  'evidence forged whole': forgedWhole,
  'a digit in the text': text((before, _submission, random) => `${before} About ${integerBetween(random, 1, 999)}.`),
  'a number word in the text': text(
    (before, _submission, random) => `${before} It was ${pick(['two', 'twelve', 'half', 'dozens', 'thousand', 'double', 'none'], random)}.`,
  ),
  'slot of another claim': text((before, { investigation }, random) => {
    const used = [...before.matchAll(/\{c:(c\d+)\.value\}/g)].map(([, id]) => id as string)
    const other = pick(
      investigation.claims.filter(({ id }) => !used.includes(id)),
      random,
    )
    return other === undefined || used.length === 0 ? before : before.replace(`{c:${used[0]}.value}`, `{c:${other.id}.value}`)
  }),
  'figures exchanged': text((before) => {
    const [first, second] = [...before.matchAll(/\{c:c\d+\.value\}/g)].map(([slot]) => slot)
    if (first === undefined || second === undefined || !/usual|expected/.test(before)) return before
    return before.replace(first, '{x}').replace(second, first).replace('{x}', second)
  }),
  'direction turned': text((before, { investigation }) =>
    before.replace(/\{c:(c\d+)\.direction\}/, (_slot, id) =>
      (investigation.claims.find((one) => one.id === id)?.value ?? 0) > 0 ? 'fell' : 'rose',
    ),
  ),
  negated: text((before) => before.replace(/ (was|began|has|reached) /, ' $1 not ')),
  'markup in the text': text(
    (before, _submission, random) => `${before} ${pick(['<b>now</b>', '![x](http://x)', '[a](b)', '<script>', 'http://x.y'], random)}`,
  ),
  'a citation too many': text((before, { investigation }, random) => {
    const other = pick(
      Object.keys(investigation.evidence).filter((handle) => !before.includes(`[ev:${handle}]`)),
      random,
    )
    return other === undefined ? before : `${before} [ev:${other}]`
  }),
  'a citation too few': text((before) => before.replace(/ \[ev:E\d+\]/, '')),
  'another cause': ({ draft, investigation }, random) => {
    const [first] = draft.causes
    if (first === undefined) return false
    first.code =
      pick(
        CAUSE_CODES.filter((code) => !investigation.causes.some((known) => known.code === code)),
        random,
      ) ?? 'unknown'
    return true
  },
  'a level raised': ({ draft }, random) => {
    const found = pick(
      draft.causes.filter(({ level }) => level !== 'CONFIRMED'),
      random,
    )
    if (found !== undefined) found.level = 'CONFIRMED'
    return found !== undefined
  },
  'a level raised on both sides': ({ draft, investigation }) => {
    const found = draft.causes.findIndex(({ level, evidence }) => level !== 'CONFIRMED' && evidence.length < 2)
    for (const one of [draft.causes[found], investigation.causes[found]]) if (one !== undefined) one.level = 'CONFIRMED'
    return found >= 0
  },
  'a cause without its evidence': ({ draft }) => {
    const found = draft.causes.find(({ evidence }) => evidence.length > 0)
    if (found !== undefined) found.evidence = found.evidence.slice(1)
    return found !== undefined
  },
  'another runbook': ({ draft }, random) => {
    draft.checks = [
      pick(
        RUNBOOK_IDS.filter((id) => !draft.checks.includes(id)),
        random,
      ) ?? 'RB-000',
    ]
    return true
  },
  'a gap kept back': ({ investigation }) => {
    const admitted = investigation.gaps.length
    investigation.gaps = investigation.gaps.filter(
      ({ code }) => !['check_failed', 'check_timed_out', 'truncated', 'late_data', 'few_readings', 'only_alert_seen'].includes(code),
    )
    return investigation.gaps.length < admitted
  },
  'a fact kept back': ({ draft, investigation }, random) => {
    const required = investigation.claims.filter((one) => one.required).map(({ id }) => id)
    const sentence = pick(
      draft.sentences.filter(({ claims }) => claims.some((id) => required.includes(id))),
      random,
    )
    draft.sentences = draft.sentences.filter((one) => one !== sentence)
    return sentence !== undefined && draft.sentences.length > 0
  },
  'another instant': ({ investigation }) => {
    investigation.asOf += 60_000
    return true
  },
  'another device': ({ investigation }) => {
    const { D1 } = investigation.names.devices
    if (D1 !== undefined) investigation.names.devices.D1 = { ...D1, device: `${D1.device}-other` }
    return D1 !== undefined
  },
  'a control': (submission) => {
    Object.assign(submission.draft, { control: 'close' })
    return true
  },
}
