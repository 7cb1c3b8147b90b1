import { Context } from 'mingo/core'
import * as operators from 'mingo/operators/query'
import { Query } from 'mingo/query'
import type { Options } from 'mingo/types'
import { InvalidInputError, describeError } from '../../kernel/errors.ts'
import type { Filter } from './documents.ts'

const { $and, $or, $nor, $not, $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $type, $regex, $mod, $all, $elemMatch, $size } =
  operators

/** Only what compares: a filter can neither run code nor evaluate expressions. */
const context = Context.init({
  query: { $and, $or, $nor, $not, $eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $type, $regex, $mod, $all, $elemMatch, $size },
})
const options: Partial<Options> = { context, scriptEnabled: false, useStrictMode: true, failOnError: true }

/** The filter as a predicate. Throws InvalidInputError for one that is not MongoDB's language, or not of the part that is allowed. */
export function compileFilter(filter: Filter): (document: object) => boolean {
  refuseUndefined(filter, '')
  try {
    const query = new Query<object>(filter, options)
    return (document) => query.test(document)
  } catch (cause) {
    throw new InvalidInputError(`not a filter: ${describeError(cause)}`, {
      cause,
      remedy: "Use MongoDB's query operators as the port lists them.",
    })
  }
}

function refuseUndefined(value: unknown, path: string): void {
  if (value === undefined)
    throw new InvalidInputError(`the filter has no value at ${path}`, { remedy: 'Leave the condition out, or use null.' })
  if (typeof value !== 'object' || value === null || value instanceof RegExp) return
  for (const [key, item] of Object.entries(value)) refuseUndefined(item, path === '' ? key : `${path}.${key}`)
}
