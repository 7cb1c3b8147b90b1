import { BroadcastChannel } from 'node:worker_threads'
import type { Slot } from './log-keys.ts'

/** Told to the other threads of the process: once per commit what became durable, or that topics changed. */
type Message = { kind: 'durable'; heads: readonly number[] } | { kind: 'topics' }

/**
 * Up to where each partition is on the disk, over all threads of the process, and who waits for more.
 * Readers stop there: LMDB shows a commit before it is flushed, and what was read must not vanish in a power loss.
 */
export class DurableHeads {
  readonly #next = new Map<Slot, number>()
  readonly #waiting = new Map<number, Set<() => void>>()
  readonly #onTopicsChanged: () => void
  #channel: BroadcastChannel | null = null

  /** `onTopicsChanged` is called when another thread changed topics. */
  constructor(onTopicsChanged: () => void) {
    this.#onTopicsChanged = onTopicsChanged
  }

  /** `name` is the same for all threads that share the environment. */
  start(name: string): void {
    const channel = new BroadcastChannel(name)
    channel.onmessage = (event: unknown): void => this.#receive((event as { data: Message }).data)
    channel.unref()
    this.#channel = channel
  }

  stop(): void {
    this.#channel?.close()
    this.#channel = null
    this.#next.clear()
  }

  next(slot: Slot): number {
    return this.#next.get(slot) ?? 0
  }

  /** Pairs of slot and next offset, found durable; wakes who waits in this thread. */
  advance(heads: readonly number[]): void {
    for (let i = 0; i < heads.length; i += 2) {
      const slot = heads[i]!
      const next = heads[i + 1]!
      if (next <= this.next(slot)) continue
      this.#next.set(slot, next)
      this.wake(Math.floor(slot / 65_536))
    }
  }

  /** As `advance`, and tells the other threads. */
  publish(heads: readonly number[]): void {
    this.advance(heads)
    if (heads.length > 0) this.#channel?.postMessage({ kind: 'durable', heads } satisfies Message)
  }

  publishTopics(): void {
    this.#channel?.postMessage({ kind: 'topics' } satisfies Message)
  }

  /** Calls `run` once at the next advance of the topic, unless cancelled before. */
  onAdvance(topicId: number, run: () => void): { cancel(): void } {
    let waiting = this.#waiting.get(topicId)
    if (waiting === undefined) this.#waiting.set(topicId, (waiting = new Set()))
    const set = waiting
    set.add(run)
    return { cancel: () => set.delete(run) }
  }

  /** Wakes everyone who waits for the topic. */
  wake(topicId: number): void {
    const waiting = this.#waiting.get(topicId)
    if (waiting === undefined || waiting.size === 0) return
    const woken = [...waiting]
    waiting.clear()
    for (const run of woken) run()
  }

  #receive(message: Message): void {
    if (message.kind === 'topics') this.#onTopicsChanged()
    else this.advance(message.heads)
  }
}
