import type { Documents } from '../../storage/documents/documents.ts'

const WRITES: ReadonlySet<string | symbol> = new Set(['insert', 'replace', 'saveMany', 'update', 'put', 'delete'])

/** Documents that stop accepting device states: a worker on them crashes with whatever it had saved by then. */
export function crashable(documents: Documents): Documents & { crashed: boolean } {
  const wrapper = {
    name: documents.name,
    crashed: false,
    start: () => documents.start(),
    stop: () => documents.stop(),
    collection: async (spec: Parameters<Documents['collection']>[0]) => {
      const inner = await documents.collection(spec)
      return new Proxy(inner, {
        get: (target, property) => {
          const value = Reflect.get(target, property) as unknown
          if (typeof value !== 'function') return value
          return WRITES.has(property)
            ? (...args: unknown[]) => (wrapper.crashed ? new Promise(() => undefined) : (value.apply(target, args) as unknown))
            : (value.bind(target) as unknown)
        },
      })
    },
  }
  return wrapper as unknown as Documents & { crashed: boolean }
}
