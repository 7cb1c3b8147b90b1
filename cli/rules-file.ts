import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { describeError, InvalidInputError } from '../kernel/errors.ts'
import { compileSchema } from '../kernel/schema.ts'
import { RuleSettingsSchema, type RuleSettings } from '../processing/rules/rule.ts'
import type { RuleView } from '../processing/rules/rules-service.ts'

/** Faults named in one message. */
const FAULTS_MAX = 20
const checkSettings = compileSchema(RuleSettingsSchema)

/** What a file of rules and the platform's rules need to be the same; rules are known by their names. */
export type RuleStep =
  | { status: 'created' | 'changed' | 'unchanged'; name: string; settings: RuleSettings; kept: RuleView | null }
  | { status: 'removed'; name: string; kept: RuleView }

/** The rules of a file: a JSON array of them, one alone, or what `rules list --json` says. InvalidInputError names every fault with its path. */
export function readRules(path: string): RuleSettings[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new InvalidInputError(`${path} cannot be read: ${describeError(error)}`, { cause: error })
  }
  return parseRules(text, path)
}

export function parseRules(text: string, path: string): RuleSettings[] {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new InvalidInputError(`${path} is not JSON: ${describeError(error)}`, { cause: error })
  }
  const faults: string[] = []
  const names = new Set<string>()
  const rules = (Array.isArray(value) ? value : [value]).map((each: unknown, i) => {
    const settings = withoutKept(each)
    const result = checkSettings(settings)
    if (result.status === 'invalid')
      faults.push(...result.faults.map(({ path: at, problem, allowed }) => `${[i, at].join('.')}: ${problem} (${allowed})`))
    const { name } = settings as RuleSettings
    if (names.has(name)) faults.push(`${i}.name: there is another "${name}" before it`)
    names.add(name)
    return settings as RuleSettings
  })
  if (faults.length === 0) return rules
  throw new InvalidInputError(`${path}: ${faults.slice(0, FAULTS_MAX).join('; ')}`)
}

/** Pure. InvalidInputError where a name stands for two rules of the platform: which is meant nobody can say. */
export function planRules(wanted: readonly RuleSettings[], kept: readonly RuleView[], prune: boolean): RuleStep[] {
  const byName = new Map<string, RuleView>()
  const names = new Set(wanted.map(({ name }) => name))
  for (const rule of kept) {
    const other = byName.get(rule.name)
    if (other !== undefined && names.has(rule.name)) {
      throw new InvalidInputError(`two rules are named "${rule.name}": ${other.id} and ${rule.id}; rename or remove one of them first`)
    }
    byName.set(rule.name, rule)
  }
  const steps = wanted.map((settings): RuleStep => {
    const { name } = settings
    const before = byName.get(name) ?? null
    if (before === null) return { status: 'created', name, settings, kept: null }
    return { status: isDeepStrictEqual(withoutKept(before), { ...settings }) ? 'unchanged' : 'changed', name, settings, kept: before }
  })
  if (!prune) return steps
  const gone = kept.filter(({ name }) => !names.has(name))
  return [...steps, ...gone.map((rule): RuleStep => ({ status: 'removed', name: rule.name, kept: rule }))]
}

/** What a rule says, without what the platform keeps about it. */
function withoutKept(rule: unknown): object {
  if (typeof rule !== 'object' || rule === null) return { rule }
  const { id, ruleVersion, activeFrom, createdBy, createdAt, updatedBy, updatedAt, version, ...settings } = rule as RuleView
  return settings
}
