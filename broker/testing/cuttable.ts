import { EnvironmentError } from '../../kernel/errors.ts'
import type { Service } from '../../kernel/service.ts'
import type { Uplink, UplinkSink } from '../../contracts/uplink.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { Consumer, EventLog } from '../../storage/event-log/event-log.ts'

/** The line between one edge and what it shares with others: cut, nothing gets through any more, as when its process was killed. */
export class Line {
  isCut = false

  /** The same object, every method of which fails while the line is cut. What was under way when it was cut is carried out. */
  over<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (object, name) => {
        const member: unknown = Reflect.get(object, name, object)
        if (typeof member !== 'function') return member
        return (...rest: unknown[]): unknown => {
          if (this.isCut) return Promise.reject(new EnvironmentError('LOG_UNAVAILABLE', 'the line is cut', { retryable: true }))
          return (member as (...rest: unknown[]) => unknown).apply(object, rest)
        }
      },
    })
  }

  documents(documents: Documents): Documents {
    return {
      ...service(documents),
      collection: async <T extends object>(spec: Parameters<Documents['collection']>[0]): Promise<Collection<T>> =>
        this.over(await documents.collection<T>(spec)),
    }
  }

  /** A consumer can be closed over a line that is cut. */
  eventLog(eventLog: EventLog): EventLog {
    const cuttable = this.over(eventLog)
    return new Proxy(cuttable, {
      get: (object, name) => {
        if (name !== 'consume') return Reflect.get(object, name, object) as unknown
        return async (options: Parameters<EventLog['consume']>[0]): Promise<Consumer> => {
          const consumer = await object.consume(options)
          const over = this.over(consumer)
          return new Proxy(over, { get: (_, member) => (member === 'close' ? () => consumer.close() : Reflect.get(over, member, over)) })
        }
      },
    })
  }

  /** Nothing that is given to ingest while the line is cut becomes durable, and nobody is told. */
  uplinks(uplinks: UplinkSink): UplinkSink {
    return {
      accept: (uplink: Uplink, done) => {
        if (!this.isCut) uplinks.accept(uplink, done)
      },
    }
  }
}

function service({ name }: Service): Service {
  return { name, start: () => Promise.resolve(), stop: () => Promise.resolve() }
}
