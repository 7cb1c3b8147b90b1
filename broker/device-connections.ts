import type { DeviceSession } from './device-session.ts'

/** Every open connection, by device; expulsion reaches those that have not sent CONNECT yet, too. */
export class DeviceConnections {
  readonly #bySession = new Map<string, Set<DeviceSession>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  add(session: DeviceSession): void {
    const sessions = this.#bySession.get(session.sessionId)
    if (sessions === undefined) this.#bySession.set(session.sessionId, new Set([session]))
    else sessions.add(session)
    this.#size++
  }

  remove(session: DeviceSession): void {
    const sessions = this.#bySession.get(session.sessionId)
    if (sessions?.delete(session) !== true) return
    this.#size--
    if (sessions.size === 0) this.#bySession.delete(session.sessionId)
  }

  /** All connections of one device, the unfinished ones included. */
  of(sessionId: string): readonly DeviceSession[] {
    return [...(this.#bySession.get(sessionId) ?? [])]
  }

  countOf(sessionId: string): number {
    return this.#bySession.get(sessionId)?.size ?? 0
  }

  *all(): Generator<DeviceSession> {
    for (const sessions of this.#bySession.values()) yield* sessions
  }
}
