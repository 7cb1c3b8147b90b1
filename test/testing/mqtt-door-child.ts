import { TOPICS } from '../../contracts/topics.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import { printNow } from '../../storage/testing/print-now.ts'
import { openDoorWorld } from './door-world.ts'

/**
 * A process that runs the MQTT door until it is killed. `before`: readings are received and never reach the log; `after`: they are in the log, and
 * nobody hears of it. It prints `received N` or `durable N` for each append of readings that it holds up.
 */
const [folder = '', url = '', hold] = process.argv.slice(2)

function holding(log: EventLog): EventLog {
  return new Proxy(log, {
    get: (target, property) => {
      const value = Reflect.get(target, property) as unknown
      if (property !== 'append') return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return async (topic: string, messages: Parameters<EventLog['append']>[1]) => {
        if (topic !== TOPICS.readings) return target.append(topic, messages)
        if (hold === 'after') await target.append(topic, messages)
        printNow(`${hold === 'after' ? 'durable' : 'received'} ${messages.length}\n`)
        return new Promise(() => undefined)
      }
    },
  })
}

const world = await openDoorWorld(folder, holding)
await world.door('door-1', { url, reconnectInitialMs: 50 })
printNow('open\n')
