import type { Document } from 'mongodb'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { Filter, FindOptions } from './documents.ts'
import { compileFilter } from './filter.ts'
import { escapePath, escapeText, escapeValue } from './mongodb-codec.ts'
import { comparatorOf } from './sort.ts'

/** BSON tells kinds of numbers apart, JSON does not: one name for all of them. */
const TYPES: ReadonlySet<unknown> = new Set(['number', 'string', 'object', 'array', 'bool', 'null', 2, 3, 4, 8, 10])

/**
 * The filter as the server is asked it. Throws InvalidInputError for what LMDB's engine refuses, and for what a server would answer
 * otherwise: whole objects of several fields (it compares their order too) and single kinds of numbers.
 */
export function serverFilter(filter: Filter): Document {
  compileFilter(filter)
  return conditions(filter, true)
}

/** The order as the server is asked it. Throws InvalidInputError for what is no order. */
export function serverSort(sort: NonNullable<FindOptions['sort']>): [string, 1 | -1][] {
  comparatorOf(sort)
  return Object.entries(sort).map(([path, direction]) => [serverPath(path, true), direction])
}

function conditions(filter: Readonly<Record<string, unknown>>, top: boolean): Document {
  return Object.fromEntries(
    Object.entries(filter).map(([key, value]) =>
      key.startsWith('$') && Array.isArray(value)
        ? [key, value.map((part: Filter) => conditions(part, top))]
        : [serverPath(key, top), condition(value)],
    ),
  )
}

/** A path of the document itself, or of an element of an array. */
function serverPath(path: string, top: boolean): string {
  return top ? escapePath(path) : escapePath(`.${path}`).slice(1)
}

function condition(value: unknown): unknown {
  return isOperators(value)
    ? Object.fromEntries(Object.entries(value).map(([operator, argument]) => [operator, operatorArgument(operator, argument)]))
    : operand(value)
}

function operatorArgument(operator: string, argument: unknown): unknown {
  if (operator === '$not') return condition(argument)
  if (operator === '$elemMatch') return isOperators(argument) ? condition(argument) : conditions(argument as Filter, false)
  if (operator === '$all' && Array.isArray(argument)) return argument.map(condition)
  if (operator === '$type') return typesOf(argument)
  return operator === '$regex' || operator === '$options' ? argument : operand(argument)
}

function operand(value: unknown): unknown {
  if (typeof value === 'string') return escapeText(value)
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return value
  refuseOrderedObjects(value)
  return escapeValue(value)
}

function refuseOrderedObjects(value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return
  const items: unknown[] = Object.values(value)
  if (!Array.isArray(value) && items.length > 1) {
    throw new InvalidInputError(`a filter compares with a whole object of ${items.length} fields: ${Object.keys(value).join(', ')}`, {
      remedy: 'Name the fields by dotted paths: MongoDB would find only objects with their fields in this order.',
    })
  }
  items.forEach(refuseOrderedObjects)
}

function typesOf(argument: unknown): unknown {
  const wrong = (Array.isArray(argument) ? (argument as unknown[]) : [argument]).find((type) => !TYPES.has(type))
  if (wrong === undefined) return argument
  throw new InvalidInputError(`$type ${String(wrong)} is not a type that JSON tells apart: ${[...TYPES].join(', ')}`)
}

function isOperators(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof RegExp) return false
  return Object.keys(value).some((key) => key.startsWith('$'))
}
