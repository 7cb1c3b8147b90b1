import { InvalidInputError } from '../../kernel/errors.ts'
import { ID_BYTES_MAX, INDEX_PATHS_MAX, type CollectionSpec, type IndexSpec } from './documents.ts'
import { encodeComponent, textBytes, type Indexable } from './index-key.ts'

/** What one document puts into one index. */
export interface IndexEntries {
  /** One key per combination of values, without the document's id. */
  keys: Buffer[]
  /** False when an array, an object or a very long text is among the values: then the index finds by equality only. */
  plain: boolean
}

/** Throws InvalidInputError for two paths through arrays (as MongoDB does) and for more than `entriesMax` entries. */
export function indexEntries(index: IndexSpec, document: object, entriesMax: number): IndexEntries {
  let plain = true
  let arrays = 0
  let keys: Buffer[] = [Buffer.alloc(0)]
  for (const path of index.paths) {
    const found = valuesAt(document, path)
    if (found.throughArray) arrays++
    if (arrays > 1) throw new InvalidInputError(`index ${index.name} has two paths through arrays, ${path} is one of them`)
    if (keys.length * found.values.length > entriesMax) {
      throw new InvalidInputError(`the array at ${path} would make more than ${entriesMax} entries in index ${index.name}`)
    }
    const components = found.values.map(encodeComponent)
    plain &&= !found.throughArray && components.every((component) => component.ordered)
    keys = keys.flatMap((key) => components.map((component) => Buffer.concat([key, component.bytes])))
  }
  return { keys: arrays === 0 ? keys : withoutRepeats(keys), plain }
}

/** Every value a filter or sort could meet at `path`, at least one: the elements of arrays one by one, null for what is missing. */
export function valuesAt(document: object, path: string): { values: Indexable[]; throughArray: boolean } {
  const parts = path.split('.')
  const values: Indexable[] = []
  let throughArray = false
  const walk = (value: unknown, depth: number): void => {
    if (Array.isArray(value)) {
      throughArray = true
      if (value.length === 0) values.push(null)
      for (const item of value) walk(item, depth)
      return
    }
    const part = parts[depth]
    if (part === undefined) values.push(value ?? null)
    else if (typeof value === 'object' && value !== null && Object.hasOwn(value, part))
      walk((value as Record<string, unknown>)[part], depth + 1)
    else values.push(null)
  }
  walk(document, 0)
  return { values, throughArray }
}

function withoutRepeats(keys: readonly Buffer[]): Buffer[] {
  return [...new Map(keys.map((key) => [key.toString('latin1'), key])).values()]
}

/** An id as bytes. Throws InvalidInputError when it is empty or longer than the port allows. */
export function idBytes(id: string): Buffer {
  const bytes = textBytes(id)
  if (bytes.length >= 1 && bytes.length <= ID_BYTES_MAX) return bytes
  throw new InvalidInputError(`a document id has 1 to ${ID_BYTES_MAX} bytes, this one has ${bytes.length}`, {
    remedy: 'Use a hash of a longer name as the id.',
  })
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/i
const PATH = /^(?![0-9]+(\.|$))[^.$\0][^.\0]*(\.(?![0-9]+(\.|$))[^.$\0][^.\0]*)*$/

/** Throws InvalidInputError for a declaration that the port does not allow. */
export function checkCollectionSpec(spec: CollectionSpec): void {
  if (!NAME.test(spec.name)) throw new InvalidInputError(`"${spec.name}" is not a collection name: letters, digits, . _ -, at most 64`)
  const names = new Set<string>()
  for (const index of spec.indexes) {
    const place = `index ${index.name} of collection ${spec.name}`
    if (!NAME.test(index.name) || names.has(index.name))
      throw new InvalidInputError(`${place} needs a name of its own: letters, digits, . _ -`)
    names.add(index.name)
    if (index.paths.length < 1 || index.paths.length > INDEX_PATHS_MAX) {
      throw new InvalidInputError(`${place} has ${index.paths.length} paths, allowed are 1 to ${INDEX_PATHS_MAX}`)
    }
    const wrong = index.paths.find((path) => !PATH.test(path))
    if (wrong !== undefined) throw new InvalidInputError(`${place}: "${wrong}" is not a dotted path of names`)
    if (new Set(index.paths).size !== index.paths.length) throw new InvalidInputError(`${place} names a path twice`)
  }
}
