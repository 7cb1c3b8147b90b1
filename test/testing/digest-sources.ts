import type { Sources } from '../../agents/evidence/sources.ts'
import { EnvironmentError } from '../../kernel/errors.ts'

type Method = (...args: unknown[]) => Promise<unknown>

/** The same sources, with something around each call. */
export function around(sources: Sources, wrap: (name: keyof Sources, call: Method) => Method): Sources {
  return new Proxy(sources, {
    get: (target, property) => {
      const value: unknown = Reflect.get(target, property)
      return typeof value === 'function' ? wrap(property as keyof Sources, value.bind(target) as Method) : value
    },
  })
}

/** For whom a source is away. */
export function without(sources: Sources, ...names: (keyof Sources)[]): Sources {
  const away = (): Promise<never> => Promise.reject(new EnvironmentError('STORE_UNAVAILABLE', 'it is away on purpose', { retryable: true }))
  return around(sources, (name, call) => (names.includes(name) ? away : call))
}

/** Without readings. */
export function blind(sources: Sources): Sources {
  return without(sources, 'readings')
}

/** Asks the stores once for each question: in a test nothing changes behind them. */
export function remembering(sources: Sources): Sources {
  const known = new Map<string, Promise<unknown>>()
  return around(sources, (name, call) => (...args) => {
    const key = JSON.stringify([name, args])
    const answer = known.get(key) ?? call(...args)
    known.set(key, answer)
    return answer
  })
}

export async function mapBounded<T, R>(items: readonly T[], width: number, run: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const work = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) results[at] = await run(items[at] as T)
  }
  await Promise.all(Array.from({ length: width }, work))
  return results
}
