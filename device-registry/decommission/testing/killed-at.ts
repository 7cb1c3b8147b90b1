import type { Consumer } from '../../../storage/event-log/event-log.ts'
import type { DecommissionWorkOptions } from '../decommission-work.ts'

const WRITES = new Set([
  'insert',
  'update',
  'replace',
  'put',
  'delete',
  'deleteMany',
  'append',
  'erase',
  'transition',
  'revokeAll',
  'commit',
])

/**
 * Wraps what the work stands on, so that it ends right after so many writes: `kill` is called, and none of its calls ever answers again, which is
 * what a killed process would still have waited for.
 */
export function killedAt(writesAllowed: number, kill: () => void = () => undefined) {
  let writes = 0
  let writesMax = writesAllowed
  let die: (how: 'died') => void = () => undefined
  const died = new Promise<'died'>((resolve) => (die = resolve))
  const never = new Promise<never>(() => undefined)
  const consumers: Consumer[] = []
  const end = (): void => {
    kill()
    die('died')
  }
  const wrap = <T extends object>(part: T): T =>
    new Proxy(part, {
      get(target, property) {
        const value: unknown = Reflect.get(target, property, target)
        if (typeof value !== 'function') return value
        return (...args: unknown[]): unknown => {
          if (writes >= writesMax) return never
          const answer: unknown = Reflect.apply(value, target, args)
          if (!(answer instanceof Promise)) return answer
          const isLast = WRITES.has(String(property)) && ++writes >= writesMax
          return answer
            .finally(() => isLast && end())
            .then((result: unknown) => {
              if (writes >= writesMax) return never
              if (property === 'consume') consumers.push(result as Consumer)
              return property === 'collection' || property === 'consume' ? wrap(result as object) : result
            })
        }
      },
    })
  const wrapAll = (options: DecommissionWorkOptions): DecommissionWorkOptions => ({
    ...options,
    documents: wrap(options.documents),
    eventLog: wrap(options.eventLog),
    series: wrap(options.series),
    registry: wrap(options.registry),
    credentials: wrap(options.credentials),
  })
  // A killed process leaves its groups.
  const leaveGroups = async (): Promise<void> => {
    for (const consumer of consumers) await consumer.close()
  }
  return { wrapAll, died, leaveGroups, spare: () => void (writesMax = Infinity) }
}
