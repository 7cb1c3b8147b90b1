import { updateOne } from 'mingo/updater'
import { resolve, setValue } from 'mingo/util'
import type { AnyObject } from 'mingo/types'
import { InvalidInputError, describeError } from '../../kernel/errors.ts'
import type { Stored, Update } from './documents.ts'

/** What each allowed operator needs to find at its path, when there is something; mingo lets a misfit pass without a change. */
const OPERATORS: Readonly<Record<string, { needs: 'number' | 'array' | 'any'; makesPath: boolean }>> = {
  $set: { needs: 'any', makesPath: true },
  $unset: { needs: 'any', makesPath: false },
  $rename: { needs: 'any', makesPath: false },
  $min: { needs: 'any', makesPath: true },
  $max: { needs: 'any', makesPath: true },
  $inc: { needs: 'number', makesPath: true },
  $mul: { needs: 'number', makesPath: true },
  $push: { needs: 'array', makesPath: true },
  $addToSet: { needs: 'array', makesPath: true },
  $pull: { needs: 'array', makesPath: false },
  $pullAll: { needs: 'array', makesPath: false },
  $pop: { needs: 'array', makesPath: false },
}
const ENGINE_FIELDS = /^(_id|version)(\.|$)/

/** Applies the operators to `document` itself. Throws InvalidInputError; the document is then of no use. */
export function applyUpdate(document: Stored, update: Update): void {
  const operators = Object.entries(update)
  if (Array.isArray(update) || operators.length === 0) throw new InvalidInputError('an update is an object of update operators')
  for (const [operator, paths] of operators) checkOperator(document, operator, paths)
  // Most updates set a few fields of the document itself, and the general way costs twenty times as much.
  if (operators.length === 1 && isPlainSet(update)) {
    Object.assign(document, structuredClone<unknown>(update.$set))
    return
  }
  try {
    updateOne([document as Stored & AnyObject], {}, update, { cloneMode: 'deep' }, { scriptEnabled: false })
  } catch (cause) {
    throw new InvalidInputError(`not an update: ${describeError(cause)}`, {
      cause,
      remedy: "Use MongoDB's update operators as the port lists them.",
    })
  }
}

function isPlainSet({ $set }: Update): boolean {
  return typeof $set === 'object' && $set !== null && Object.keys($set).every((path) => !path.includes('.') && path !== '__proto__')
}

function checkOperator(document: object, operator: string, paths: unknown): void {
  const rule = Object.hasOwn(OPERATORS, operator) ? OPERATORS[operator] : undefined
  if (rule === undefined) throw new InvalidInputError(`${operator} is not an update operator; allowed: ${Object.keys(OPERATORS).join(' ')}`)
  if (typeof paths !== 'object' || paths === null) throw new InvalidInputError(`${operator} needs an object of paths`)
  for (const [path, argument] of Object.entries(paths)) {
    const target = operator === '$rename' ? String(argument) : path
    if (ENGINE_FIELDS.test(path) || ENGINE_FIELDS.test(target))
      throw new InvalidInputError(`${operator} may not change ${path}: it is the engine's`)
    if (argument === undefined) throw new InvalidInputError(`${operator} has no value for ${path}`)
    if (path.includes('$')) throw new InvalidInputError(`${operator} of ${path}: positional paths are not supported`)
    if (rule.makesPath || operator === '$rename') checkParents(document, operator, target)
    const current: unknown = resolve(document as AnyObject, path)
    if (rule.needs === 'array' && rule.makesPath && current === undefined) {
      // mingo puts the first elements of a new array there as they are, without `$slice` or `$sort`, and repeats of `$addToSet`.
      setValue(document as AnyObject, path, [])
    }
    if (rule.needs === 'any' || current === undefined) continue
    const fits = rule.needs === 'array' ? Array.isArray(current) : typeof current === 'number'
    if (!fits)
      throw new InvalidInputError(
        `${operator} needs ${rule.needs === 'array' ? 'an array' : 'a number'} at ${path}, which is ${nameOf(current)}`,
      )
  }
}

/** A path can be made below objects and array elements only. */
function checkParents(document: object, operator: string, path: string): void {
  const parts = path.split('.')
  let parent: unknown = document
  for (const part of parts) {
    if (parent === undefined) return
    const holds = Array.isArray(parent) ? /^[0-9]+$/.test(part) : typeof parent === 'object' && parent !== null
    if (!holds) throw new InvalidInputError(`${operator} cannot make ${path}: what should hold "${part}" is ${nameOf(parent)}`)
    parent = Object.hasOwn(parent as object, part) ? (parent as Record<string, unknown>)[part] : undefined
  }
}

function nameOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : `of type ${typeof value}`
}
