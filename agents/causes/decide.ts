import type { TroubleKind } from '../../contracts/platform-trouble.ts'
import type { CheckName, CheckOutcome, CheckSubject } from '../checks/check.ts'
import type { Evidence, EvidenceKind } from '../evidence/evidence.ts'
import { CAUSE_CODES, CAUSES, type CauseCode, type Level } from './catalogue.ts'

/** A cause, how sure it is, and what stands behind it, the most telling first. */
export interface CauseVerdict {
  code: CauseCode
  level: Level
  evidence: Evidence[]
}

interface Ground {
  /** Checks that say so. */
  by: CheckName[]
  /** What else was looked at and does not speak against it: another kind of evidence. */
  agreed: CheckName[]
  /** Checks that could tell it from another cause and could not be made. */
  open: CheckName[]
}

type Rule = (facts: Facts) => Ground | null

/** What the checks say, by name. */
class Facts {
  readonly subject: CheckSubject
  readonly #outcomes: ReadonlyMap<CheckName, CheckOutcome>

  constructor(subject: CheckSubject, outcomes: readonly CheckOutcome[]) {
    this.subject = subject
    this.#outcomes = new Map(outcomes.map((outcome) => [outcome.name, outcome]))
  }

  of(name: CheckName): CheckOutcome | undefined {
    return this.#outcomes.get(name)
  }
  is(name: CheckName): boolean {
    return this.of(name)?.interesting === true
  }
  signal(name: CheckName, signal: string): number {
    return this.of(name)?.signals[signal] ?? 0
  }
  failed(...names: CheckName[]): CheckName[] {
    return names.filter((name) => this.of(name)?.status === 'error')
  }
  /** Neighbours were compared, and did not change with it. */
  get isAlone(): boolean {
    return this.of('peers')?.status === 'success' && this.signal('peers', 'together') === 0
  }
  get isShared(): boolean {
    const together = this.signal('peers', 'together')
    return together >= 2 && together >= SHARED_PART * this.signal('peers', 'seen')
  }
  get isShape(): boolean {
    return (['spike', 'level_shift', 'drift', 'variance', 'flatline'] as const).some((name) => this.is(name))
  }
  get isAnything(): boolean {
    return this.isShape || this.is('gap')
  }
}

/** Half of the others is no coincidence any more. */
const SHARED_PART = 0.5

const ground = (by: CheckName[], agreed: CheckName[] = [], open: CheckName[] = []): Ground => ({ by, agreed, open })

/** A cause that shows in the values of one device alone: neighbours tell it from what is common to them. */
function ofShape(facts: Facts, name: CheckName): Ground | null {
  if (!facts.is(name) || facts.isShared) return null
  return ground([name], facts.isAlone ? ['peers'] : [], facts.failed('peers'))
}

/** What changed before: said by the registry, and agreed by values or a gap; surer when devices without it did not change. */
function afterChange(facts: Facts, signal: 'firmware' | 'config'): Ground | null {
  if (facts.signal('changes', signal) === 0 || !facts.isAnything || facts.isShared) return null
  return ground(['changes'], facts.isAlone ? ['peers'] : [], facts.failed('peers'))
}

/** What the evidence of the platform's own troubles says. */
function ofPlatform(facts: Facts, trouble: TroubleKind): Ground | null {
  return facts.subject.cause === 'platform' && facts.signal('pipeline', trouble) > 0 ? ground(['pipeline']) : null
}

const RULES: Readonly<Record<Exclude<CauseCode, 'unknown'>, Rule>> = {
  'platform.part': (facts) => ofPlatform(facts, 'part'),
  'platform.silent': (facts) => ofPlatform(facts, 'silent'),
  'platform.lag': (facts) => ofPlatform(facts, 'lag'),
  'platform.dead_letters': (facts) => ofPlatform(facts, 'dead-letters'),
  'platform.breaker': (facts) => ofPlatform(facts, 'breaker'),
  'platform.training': (facts) => ofPlatform(facts, 'training'),
  'platform.clock': (facts) => ofPlatform(facts, 'clock'),
  'pipeline.lag': (facts) => (facts.signal('pipeline', 'delayed') > 0 && facts.subject.cause !== 'silence' ? ground(['pipeline']) : null),
  'security.impersonation': (facts) => (facts.signal('security', 'shared') > 0 ? ground(['security']) : null),
  'security.cert_anomaly': (facts) => {
    const { cause } = facts.subject
    if (cause === 'certificate' || cause === 'security')
      return ground(['threshold'], facts.signal('security', 'other') > 0 ? ['security'] : [], facts.failed('security'))
    return null
  },
  'maintenance.window': (facts) => (facts.signal('changes', 'maintenance') > 0 ? ground(['changes']) : null),
  'pipeline.clock_skew': (facts) => (facts.signal('pipeline', 'clock') > 0 ? ground(['pipeline']) : null),
  'security.payload_tamper': (facts) => (facts.signal('pipeline', 'content') > 0 ? ground(['pipeline']) : null),
  'pipeline.duplicate': (facts) => (facts.signal('pipeline', 'duplicates') > 0 ? ground(['pipeline']) : null),
  'power.low': (facts) => {
    if (facts.signal('co_moving', 'powerLow') === 0 || !facts.isAnything) return null
    return ground(['co_moving'], facts.is('gap') ? ['gap'] : [])
  },
  'firmware.regression': (facts) => afterChange(facts, 'firmware'),
  'environment.common_mode': (facts) => (facts.isShared && facts.isAnything ? ground(['peers'], shapesOf(facts)) : null),
  'config.change': (facts) => afterChange(facts, 'config'),
  'sensor_fault.flatline': (facts) => ofShape(facts, 'flatline'),
  'sensor_fault.spike': (facts) => (facts.is('flatline') ? null : ofShape(facts, 'spike')),
  'process.oscillation': (facts) => (facts.signal('variance', 'swings') > 0 && !facts.is('spike') ? ofShape(facts, 'variance') : null),
  'sensor_fault.noise': (facts) => (facts.signal('variance', 'scatters') > 0 && !facts.is('spike') ? ofShape(facts, 'variance') : null),
  'sensor_fault.drift': (facts) => (facts.is('flatline') || facts.signal('co_moving', 'together') > 0 ? null : ofShape(facts, 'drift')),
  'process.level_shift': (facts) => (facts.is('flatline') ? null : ofShape(facts, 'level_shift')),
  'connectivity.gap': (facts) => {
    if (facts.subject.cause !== 'silence' || facts.signal('gap', 'silent') === 0) return null
    return ground(['gap'], facts.of('peers')?.status === 'success' ? ['peers'] : [])
  },
}

function shapesOf(facts: Facts): CheckName[] {
  const names = ['level_shift', 'drift', 'variance', 'flatline', 'spike', 'gap'] as const
  return names.filter((name) => facts.is(name)).slice(0, 1)
}

/** Checks of values: nothing that they say is sure while there are hardly any readings since it began. */
const OF_VALUES: readonly CheckName[] = ['spike', 'level_shift', 'drift', 'variance', 'flatline']

/** Causes that their rules find, the most explanatory first; `unknown` when none does. Never more than the evidence bears. */
export function decideCauses(subject: CheckSubject, outcomes: readonly CheckOutcome[]): CauseVerdict[] {
  const facts = new Facts(subject, outcomes)
  const verdicts = CAUSE_CODES.flatMap((code) => {
    const found = code === 'unknown' ? null : RULES[code](facts)
    return found === null ? [] : [verdictOf(code, found, facts)]
  })
  // Stable: within a level the catalogue's order stays.
  const settled = verdicts.toSorted((a, b) => Number(a.level === 'INCONCLUSIVE') - Number(b.level === 'INCONCLUSIVE'))
  return settled.some(({ level }) => level !== 'INCONCLUSIVE')
    ? settled
    : [...settled, { code: 'unknown', level: 'INCONCLUSIVE', evidence: [] }]
}

function verdictOf(code: CauseCode, { by, agreed, open }: Ground, facts: Facts): CauseVerdict {
  const { needs, fact, trouble } = CAUSES[code] as { needs: readonly EvidenceKind[]; fact?: string; trouble?: TroubleKind }
  // Of several facts of the registry, and of several troubles, only the one that says it: what is cited is needed.
  const says = ({ kind, query, result }: Evidence): boolean =>
    needs.includes(kind) && (query.kind !== 'registry_fact' || query.fact === fact) && (trouble === undefined || result.trouble === trouble)
  const ofChecks = (names: readonly CheckName[]): Evidence[] => names.flatMap((name) => facts.of(name)?.evidence ?? [])
  const successful = (all: Evidence[]): Evidence[] => all.filter(({ status }) => status === 'success')
  const own = successful(ofChecks(by)).filter(says)
  const others = successful(ofChecks(agreed)).filter(({ kind }) => !own.some((one) => one.kind === kind))
  const evidence = [...new Map([...own, ...others].map((one) => [one.id, one])).values()]
  const kinds = new Set(evidence.map(({ kind }) => kind))
  const values = [...by, ...agreed].filter((name) => OF_VALUES.includes(name))
  const isEarly = values.some((name) => facts.signal(name, 'enough') === 0) || (by[0] === 'changes' && !isBorneOut(facts))
  if (own.length === 0 || open.length > 0 || isEarly) return { code, level: 'INCONCLUSIVE', evidence }
  const isWhole = evidence.every(({ truncated }) => !truncated)
  return { code, level: kinds.size >= 2 && isWhole ? 'CONFIRMED' : 'LIKELY', evidence }
}

/** Something can only follow a change when it can be seen: values with enough readings, or a gap. */
function isBorneOut(facts: Facts): boolean {
  const shapes = OF_VALUES.filter((name) => facts.is(name))
  return facts.is('gap') || facts.signal('changes', 'maintenance') > 0 || shapes.some((name) => facts.signal(name, 'enough') > 0)
}
