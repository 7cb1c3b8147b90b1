import { FORGOTTEN_COLLECTION, type ForgetDevice, type Forgotten } from '../contracts/forget-device.ts'
import type { RegistryView } from '../contracts/registry-view.ts'
import { EnvironmentError } from '../kernel/errors.ts'
import type { Logger } from '../kernel/log.ts'
import { sleep, type Clock } from '../kernel/time.ts'
import type { Collection, Documents } from '../storage/documents/documents.ts'
import type { Commands } from './commands.ts'
import type { DeviceBroker } from './device-broker.ts'
import type { DeviceConnections } from './device-connections.ts'
import { sessionIdOf, topicGroupOf } from './names.ts'
import type { DocumentsPersistence } from './persistence/documents-persistence.ts'

/** How often a connection that was cut, or the registry's view, is looked at, in ms. */
const LOOK_MS = 5
/** The view learns of a revocation within milliseconds; whoever waits longer than this tries again from the start. */
const REFUSED_TIMEOUT_MS = 5_000

export interface ForgettingOptions {
  documents: Documents
  commands: Commands
  broker: DeviceBroker
  connections: DeviceConnections
  persistence: DocumentsPersistence
  registry: RegistryView
  clock: Clock
  log: Logger
}

/** A device leaves for good: what is kept for it here goes, and the documents say what it was. */
export class Forgetting {
  readonly #options: ForgettingOptions
  #answers: Collection<Forgotten> | undefined

  constructor(options: ForgettingOptions) {
    this.#options = options
  }

  /** Resolves when it is forgotten and answered, durably. Asked again it answers what it did the first time. */
  async forget({ tenant, device, scope, request, serials }: ForgetDevice): Promise<void> {
    const { documents, clock, log } = this.#options
    const answers = (this.#answers ??= await documents.collection<Forgotten>({ name: FORGOTTEN_COLLECTION, indexes: [] }))
    if ((await answers.get(request)) !== null) return
    const connections = scope === 'everything' ? await this.#end(tenant, device, serials) : 0
    const messages = await this.#options.commands.cancel(tenant, device)
    const kept = scope === 'everything' ? await this.#clear(tenant, device) : { sessions: 0, retained: 0 }
    const forgotten: Forgotten = { tenant, device, connections, messages, ...kept, at: clock.nowMs() }
    await answers.insert(request, forgotten)
    log.info({ ...forgotten, scope }, 'device forgotten')
  }

  /** Ends every connection, once none can come back; answers how many there were. */
  async #end(tenant: string, device: string, serials: readonly string[]): Promise<number> {
    const { connections, broker, registry } = this.#options
    const sessionId = sessionIdOf(tenant, device)
    await this.#until('the registry’s view to refuse the device', () =>
      serials.every((serial) => registry.admit(tenant, device, serial).status === 'refused'),
    )
    const sessions = connections.of(sessionId)
    for (const session of sessions) {
      session.expelled = 'decommissioned'
      session.cut()
    }
    await this.#until('the end of its connections', () => connections.countOf(sessionId) === 0 && !broker.isLive(sessionId))
    return sessions.length
  }

  async #clear(tenant: string, device: string): Promise<{ sessions: number; retained: number }> {
    const { persistence } = this.#options
    const id = sessionIdOf(tenant, device)
    const sessions = persistence.sessions.has(id) ? 1 : 0
    const retained = [...persistence.retained.matching([`${topicGroupOf(id)}/#`])]
    await Promise.all([
      persistence.cleanSubscriptions({ id }),
      persistence.incoming.deleteAll(id),
      persistence.delWill({ id }),
      ...retained.map((packet) => persistence.storeRetained({ ...packet, payload: Buffer.alloc(0) })),
    ])
    return { sessions, retained: retained.length }
  }

  async #until(what: string, holds: () => boolean): Promise<void> {
    const { clock } = this.#options
    const deadlineMs = clock.monotonicMs() + REFUSED_TIMEOUT_MS
    while (!holds()) {
      if (clock.monotonicMs() >= deadlineMs) throw new EnvironmentError('SESSION_TAKEN', `waited in vain for ${what}`, { retryable: true })
      await sleep(clock, LOOK_MS)
    }
  }
}
