import type { Filter, FindOptions, IndexSpec } from './documents.ts'
import { textBytes, afterPrefix, encodeComponent, tagOf, type Indexable } from './index-key.ts'

/** Keys from `from` (included) up to `to` (excluded), without the index's or collection's own prefix; `to` undefined is the end of it. */
export interface KeyRange {
  from: Buffer
  to: Buffer | undefined
}

/** An index as the planner sees it. `plain` is false once it holds what it cannot order: arrays, objects, very long texts. */
export interface PlannableIndex extends IndexSpec {
  plain: boolean
}

/** Where to look for what matches a filter. The filter itself still decides on every document found there. */
export interface Plan<I extends PlannableIndex> {
  /** Undefined: the documents themselves, in order of id. */
  index: I | undefined
  /** Disjoint, in ascending order of keys. */
  ranges: KeyRange[]
  reverse: boolean
  /** The documents come in the order that was asked for, so that reading may end at the limit. */
  sorted: boolean
}

/** What a filter demands of one path, as far as an index can use it. */
export interface PathDemand {
  /** One of these values. */
  equal?: readonly Indexable[]
  lower?: { value: Indexable; inclusive: boolean }
  upper?: { value: Indexable; inclusive: boolean }
}

/** Alternatives of `$in` over all paths of an index; more are left to the filter. */
const POINTS_MAX = 200
const EMPTY = Buffer.alloc(0)

interface Candidate<I extends PlannableIndex> {
  plan: Plan<I>
  equalPaths: number
  bounded: boolean
  wholeUniqueKey: boolean
}

/** Chooses: the id; else a unique index by its whole key; else most paths by equality, then order, then a bound on the next path; else all. */
export function planFind<I extends PlannableIndex>(filter: Filter, options: FindOptions, indexes: readonly I[]): Plan<I> {
  const demands = demandsOf(filter)
  const sort = Object.entries(options.sort ?? {})
  let best = primaryCandidate<I>(demands.get('_id'), sort)
  if (demands.get('_id')?.equal !== undefined) return best.plan
  for (const index of indexes) {
    const candidate = indexCandidate(index, demands, sort)
    if (candidate !== undefined && score(candidate) > score(best)) best = candidate
  }
  return best.plan
}

function score<I extends PlannableIndex>(candidate: Candidate<I>): number {
  if (candidate.wholeUniqueKey) return 1_000
  return candidate.equalPaths * 10 + (candidate.plan.sorted ? 4 : 0) + (candidate.bounded ? 2 : 0)
}

function primaryCandidate<I extends PlannableIndex>(
  demand: PathDemand | undefined,
  sort: readonly (readonly [string, 1 | -1])[],
): Candidate<I> {
  const ids = demand?.equal?.filter((value) => typeof value === 'string').map(textBytes)
  const bounds = ids === undefined ? idBounds(demand) : undefined
  const ranges =
    ids === undefined
      ? [bounds ?? { from: EMPTY, to: undefined }]
      : ids.map((id) => ({ from: id, to: Buffer.concat([id, Buffer.from([0])]) }))
  const first = sort[0]
  const sorted = sort.length === 0 || first?.[0] === '_id'
  return {
    plan: { index: undefined, ranges: inKeyOrder(ranges), reverse: first?.[0] === '_id' && first[1] === -1, sorted },
    equalPaths: 0,
    bounded: bounds !== undefined,
    wholeUniqueKey: false,
  }
}

/** Ids are bare text without tag or end: what comes right after an id is that id and a zero byte. */
function idBounds(demand: PathDemand | undefined): KeyRange | undefined {
  const { lower, upper } = demand ?? {}
  const zero = Buffer.from([0])
  const from = typeof lower?.value === 'string' ? Buffer.concat([textBytes(lower.value), lower.inclusive ? EMPTY : zero]) : undefined
  const to = typeof upper?.value === 'string' ? Buffer.concat([textBytes(upper.value), upper.inclusive ? zero : EMPTY]) : undefined
  return from === undefined && to === undefined ? undefined : { from: from ?? EMPTY, to }
}

function indexCandidate<I extends PlannableIndex>(
  index: I,
  demands: ReadonlyMap<string, PathDemand>,
  sort: readonly (readonly [string, 1 | -1])[],
): Candidate<I> | undefined {
  let prefixes: Buffer[] = [EMPTY]
  let equalPaths = 0
  for (const path of index.paths) {
    const values = demands.get(path)?.equal
    if (values === undefined || prefixes.length * values.length > POINTS_MAX) break
    const components = values.map((value) => encodeComponent(value).bytes)
    prefixes = prefixes.flatMap((prefix) => components.map((component) => Buffer.concat([prefix, component])))
    equalPaths++
  }
  const single = prefixes.length === 1
  const direction = index.plain && single ? orderOf(index.paths, demands, equalPaths, sort) : undefined
  const bounds = index.plain ? boundsBelow(index.paths[equalPaths], demands) : undefined
  if (equalPaths === 0 && bounds === undefined && (direction === undefined || sort.length === 0)) return undefined
  const wholeUniqueKey = index.unique === true && single && equalPaths === index.paths.length
  const sorted = sort.length === 0 || direction !== undefined
  const ranges = prefixes.map((prefix) => bounded(prefix, bounds))
  return {
    plan: { index, ranges: inKeyOrder(ranges), reverse: direction === -1, sorted },
    equalPaths,
    bounded: bounds !== undefined,
    wholeUniqueKey,
  }
}

/** The direction in which an index, below its fixed paths, gives the order asked for; undefined when it does not. Entries end with the id. */
function orderOf(
  paths: readonly string[],
  demands: ReadonlyMap<string, PathDemand>,
  equalPaths: number,
  sort: readonly (readonly [string, 1 | -1])[],
): 1 | -1 | undefined {
  const fixed = new Set(paths.slice(0, equalPaths).filter((path) => demands.get(path)?.equal?.length === 1))
  const rest = [...paths.slice(equalPaths), '_id']
  let direction: 1 | -1 | undefined
  for (const [path, wanted] of sort) {
    if (fixed.has(path)) continue
    if (path !== rest.shift() || (direction !== undefined && direction !== wanted)) return undefined
    direction = wanted
    if (path === '_id') break
  }
  return direction ?? 1
}

/** Bounds on the path after the fixed ones, or on the id when every path is fixed. */
function boundsBelow(next: string | undefined, demands: ReadonlyMap<string, PathDemand>): KeyRange | undefined {
  return next === undefined ? idBounds(demands.get('_id')) : componentBounds(demands.get(next))
}

/** Bounds within one component. Values of another kind than the bound's are never in a range, as in MongoDB. */
function componentBounds(demand: PathDemand | undefined): KeyRange | undefined {
  const lower = boundKey(demand?.lower)
  const upper = boundKey(demand?.upper)
  const kind = demand?.lower ?? demand?.upper
  if (kind === undefined || (lower === undefined && upper === undefined)) return undefined
  const tag = Buffer.from([tagOf(kind.value)])
  return {
    from: lower === undefined ? tag : demand?.lower?.inclusive === true ? lower : afterPrefix(lower),
    to: upper === undefined ? afterPrefix(tag) : demand?.upper?.inclusive === true ? afterPrefix(upper) : upper,
  }
}

function boundKey(bound: PathDemand['lower']): Buffer | undefined {
  if (bound === undefined) return undefined
  const { bytes, ordered } = encodeComponent(bound.value)
  return ordered ? bytes : undefined
}

function bounded(prefix: Buffer, bounds: KeyRange | undefined): KeyRange {
  const end = prefix.length === 0 ? undefined : afterPrefix(prefix)
  if (bounds === undefined) return { from: prefix, to: end }
  return { from: Buffer.concat([prefix, bounds.from]), to: bounds.to === undefined ? end : Buffer.concat([prefix, bounds.to]) }
}

/** Ascending, each once: the ranges are points or share their prefix, so that equal beginnings are equal ranges. */
function inKeyOrder(ranges: readonly KeyRange[]): KeyRange[] {
  const sorted = [...ranges].sort((a, b) => Buffer.compare(a.from, b.from))
  return sorted.filter((range, i) => i === 0 || !range.from.equals((sorted[i - 1] as KeyRange).from))
}

/** What the filter's own level and its `$and`s demand of single paths: necessary for a match, not sufficient. */
export function demandsOf(filter: Filter): Map<string, PathDemand> {
  const demands = new Map<string, PathDemand>()
  collect(filter, demands)
  return demands
}

function collect(filter: Filter, demands: Map<string, PathDemand>): void {
  for (const [path, condition] of Object.entries(filter)) {
    if (path === '$and' && Array.isArray(condition)) for (const part of condition as Filter[]) collect(part, demands)
    if (path.startsWith('$')) continue
    const demand = demands.get(path) ?? {}
    addCondition(demand, condition)
    demands.set(path, demand)
  }
}

function addCondition(demand: PathDemand, condition: unknown): void {
  if (isIndexable(condition)) {
    demand.equal ??= [condition]
    return
  }
  if (typeof condition !== 'object' || condition === null || condition instanceof RegExp) return
  for (const [operator, operand] of Object.entries(condition)) {
    if (operator === '$in' && Array.isArray(operand) && operand.every(isIndexable)) demand.equal ??= operand
    if (!isIndexable(operand)) continue
    if (operator === '$eq') demand.equal ??= [operand]
    if (operand === null) continue
    if (operator === '$gt' || operator === '$gte') demand.lower ??= { value: operand, inclusive: operator === '$gte' }
    if (operator === '$lt' || operator === '$lte') demand.upper ??= { value: operand, inclusive: operator === '$lte' }
  }
}

function isIndexable(value: unknown): value is null | number | string | boolean {
  return value === null || typeof value === 'string' || typeof value === 'boolean' || (typeof value === 'number' && !Number.isNaN(value))
}
