import { createHash } from 'node:crypto'
import { Type, type Static } from 'typebox'
import { SeveritySchema } from '../../contracts/alert.ts'
import type { CollectionSpec, Stored } from '../../storage/documents/documents.ts'
import { CONDITION_KINDS, type ConditionKind, type Match } from './condition.ts'
import type { ProactiveRule } from './rule.ts'

const time = (description: string) => Type.Integer({ description: `${description}, epoch ms` })
const timeOrNull = (description: string) => Type.Union([time(description), Type.Null()])

/** What people said of something that agents began by themselves. */
export const VerdictSchema = Type.Object({
  verdict: Type.Unsafe<'right' | 'wrong'>({
    type: 'string',
    enum: ['right', 'wrong'],
    description: 'was there such a pattern, and worth beginning this?',
  }),
  acted: Type.Boolean({ description: 'somebody did something because of it' }),
  stars: Type.Unsafe<number | null>(Type.Union([Type.Integer({ minimum: 1, maximum: 5 }), Type.Null()], { default: null })),
})
export type Verdict = Static<typeof VerdictSchema>

/** A trigger that fired: the pattern, what was begun, and what became of it. */
export const FiringSchema = Type.Object({
  id: Type.String(),
  rule: Type.String(),
  ruleVersion: Type.Integer(),
  ruleName: Type.String(),
  kind: Type.Unsafe<ConditionKind>({ type: 'string', enum: [...CONDITION_KINDS] }),
  severity: SeveritySchema,
  state: Type.Unsafe<'fired' | 'over'>({
    type: 'string',
    enum: ['fired', 'over'],
    description: 'fired: the pattern is there; over: not any more',
  }),
  title: Type.String(),
  devices: Type.Array(Type.String(), { description: 'the first few' }),
  deviceCount: Type.Integer(),
  figures: Type.Record(Type.String(), Type.Number()),
  evidence: Type.Array(Type.String(), { description: '`alert:ID`, `certificate:SERIAL` or `rule:ID`' }),
  conversation: Type.String({ description: 'what was begun' }),
  firedAt: time('when it was begun'),
  lastSeenAt: time('when the pattern was seen last'),
  overAt: timeOrNull('when it was over'),
  rating: Type.Union([Type.Intersect([VerdictSchema, Type.Object({ by: Type.String(), at: Type.Integer() })]), Type.Null()]),
})
export type Firing = Static<typeof FiringSchema>

export interface FiringDocument extends Firing {
  tenant: string
  /** The same for every firing of one rule and pattern. */
  trigger: string
  generation: number
  summary: string
  remedy: string
  /** False: what it begins may not have been begun yet, after a crash. */
  isBegun: boolean
}
export type StoredFiring = FiringDocument & Stored

export const FIRINGS_COLLECTION: CollectionSpec = {
  name: 'proactive-firings',
  indexes: [
    { name: 'newest', paths: ['tenant', 'firedAt'] },
    { name: 'by-trigger', paths: ['trigger', 'generation'], unique: true },
    { name: 'by-state', paths: ['tenant', 'state', 'rule'] },
    { name: 'by-conversation', paths: ['conversation'] },
    { name: 'begun', paths: ['isBegun'] },
  ],
}

export function triggerOf(tenant: string, rule: string, key: string): string {
  return createHash('sha256')
    .update(JSON.stringify([tenant, rule, key]))
    .digest('hex')
    .slice(0, 32)
}

/** Of one trigger the next: its id follows from its number, so that of two processes only one begins it. */
export function firingOf(tenant: string, rule: ProactiveRule, match: Match, generation: number, nowMs: number): FiringDocument {
  const trigger = triggerOf(tenant, rule.id, match.key)
  const id = `pa_${trigger}_${generation}`
  const { title, devices, deviceCount, figures, evidence } = match
  return {
    ...{ id, tenant, trigger, generation, rule: rule.id, ruleVersion: rule.ruleVersion, ruleName: rule.name, kind: rule.when.kind },
    ...{
      severity: rule.severity,
      summary: rule.summary,
      remedy: rule.remedy,
      state: 'fired',
      title,
      devices,
      deviceCount,
      figures,
      evidence,
    },
    ...{ conversation: id, firedAt: nowMs, lastSeenAt: nowMs, overAt: null, rating: null, isBegun: false },
  }
}

export function shown({ _id, version, tenant, trigger, generation, summary, remedy, isBegun, ...firing }: StoredFiring): Firing {
  return firing
}
