import type { RawData, WebSocket } from 'ws'
import type { Principal } from '../../../contracts/authorisation.ts'
import { SOCKET_CLOSE, type ConversationFrame } from '../../../contracts/conversation-frame.ts'
import { conversationKey } from '../../../contracts/conversation.ts'
import { TOPICS } from '../../../contracts/topics.ts'
import { describeError, TimeoutError } from '../../../kernel/errors.ts'
import type { Logger } from '../../../kernel/log.ts'
import type { Metrics } from '../../../kernel/metrics.ts'
import { every, type Clock, type Timer } from '../../../kernel/time.ts'
import type { EventLog, LogRecord } from '../../../storage/event-log/event-log.ts'
import type { ApiConfig } from '../config.ts'
import { LogFollower } from '../log-follower.ts'
import { ConversationFeed, type FeedSource } from './conversation-feed.ts'
import { socketMetrics } from './socket-metrics.ts'

export interface ConversationWatcher {
  principal: Principal
  conversation: string
  afterSeq: number
  source: FeedSource
  /** Asked at every ping: is the session still there, and the right? */
  mayStay: () => Promise<boolean>
}

export interface ConversationSocketsOptions {
  eventLog: EventLog
  clock: Clock
  log: Logger
  metrics: Metrics
  config: ApiConfig
}

interface Connection {
  socket: WebSocket
  watcher: ConversationWatcher
  feed: ConversationFeed
  heartbeat: Timer
  /** Since the last ping. */
  isAlive: boolean
}

/** How long a closed socket has to answer before it is cut, in ms. */
const CLOSE_GRACE_MS = 1_000
/** What tells that something happened in a conversation: whichever process it happened in. */
const FOLLOWED = [TOPICS.agentMessages, TOPICS.chatEvents, TOPICS.digests] as const

/**
 * Open WebSockets of conversations. The event log says that something happened, the stores say what: so nothing that is only claimed on a
 * topic is ever shown, and a watcher sees what its rights allow.
 */
export class ConversationSockets {
  readonly #options: ConversationSocketsOptions
  readonly #follower: LogFollower
  readonly #connections = new Map<string, Set<Connection>>()
  readonly #metrics
  #open = 0

  constructor(options: ConversationSocketsOptions) {
    this.#options = options
    this.#metrics = socketMetrics(options.metrics)
    this.#follower = new LogFollower({
      ...options,
      topics: FOLLOWED,
      take: (record) => this.#take(record),
      onPlaced: () => this.#lookEverywhere(),
    })
  }

  get open(): number {
    return this.#open
  }

  /** Takes over an opened socket. */
  accept(socket: WebSocket, watcher: ConversationWatcher): void {
    const { clock, log } = this.#options
    const { principal, conversation, source, afterSeq } = watcher
    const feed = new ConversationFeed({
      ...{ source, afterSeq, clock },
      send: (frame) => this.#send(connection, frame),
      onGone: ({ code }) => this.#close(connection, code === 'NOT_FOUND' ? SOCKET_CLOSE.gone : SOCKET_CLOSE.forbidden),
      onTrouble: (error) => {
        if (socket.readyState === socket.OPEN)
          log.warn({ conversation, error: describeError(error) }, 'a socket could not be brought up to date, trying again')
      },
    })
    const connection: Connection = { socket, watcher, feed, heartbeat: this.#beatLater(() => connection), isAlive: true }
    const key = conversationKey(principal.tenant, conversation)
    const watching = this.#connections.get(key) ?? new Set()
    this.#connections.set(key, watching.add(connection))
    this.#metrics.open.set(++this.#open)
    socket.on('pong', () => (connection.isAlive = true))
    socket.on('message', (_data: RawData) => this.#close(connection, SOCKET_CLOSE.unexpected))
    // `close` follows, whatever the trouble was.
    socket.on('error', (error) => log.debug({ conversation, error: describeError(error) }, 'a socket failed'))
    socket.on('close', () => this.#forget(key, connection))
    this.#follower.start()
    feed.look(true)
  }

  /** Closes every socket; resolves when all are gone, which takes CLOSE_GRACE_MS at most. */
  async stop(): Promise<void> {
    const all = this.#all()
    const gone = all.map(({ socket }) => new Promise<void>((resolve) => socket.once('close', () => resolve())))
    for (const connection of all) this.#close(connection, SOCKET_CLOSE.stopping)
    await Promise.all([...gone, this.#follower.stop()])
  }

  #all(): Connection[] {
    return [...this.#connections.values()].flatMap((watching) => [...watching])
  }

  #take({ key, topic }: LogRecord): void {
    for (const { feed } of this.#connections.get(key) ?? []) feed.look(topic === TOPICS.digests)
  }

  /** What happened before a topic was followed was not seen. */
  #lookEverywhere(): void {
    for (const { feed } of this.#all()) feed.look(true)
  }

  #forget(key: string, connection: Connection): void {
    connection.feed.close()
    connection.heartbeat.cancel()
    const watching = this.#connections.get(key)
    if (watching?.delete(connection) !== true) return
    if (watching.size === 0) this.#connections.delete(key)
    this.#metrics.open.set(--this.#open)
    if (this.#open === 0) void this.#follower.stop()
  }

  #beatLater(of: () => Connection): Timer {
    const { clock, config, log } = this.#options
    return every(
      clock,
      config.socketPingMs,
      () => this.#beat(of()),
      (error) => log.warn({ error: describeError(error) }, 'whether a watcher may still watch could not be asked'),
    )
  }

  async #beat(connection: Connection): Promise<void> {
    const { socket, watcher, feed } = connection
    if (!connection.isAlive) return socket.terminate()
    connection.isAlive = false
    socket.ping()
    if (!(await watcher.mayStay())) return this.#close(connection, SOCKET_CLOSE.forbidden)
    // Should an event ever be lost, the store has it.
    feed.look(true)
  }

  /** Resolves when the connection took it. One that takes nothing for too long is closed. */
  async #send(connection: Connection, frame: ConversationFrame): Promise<void> {
    const { clock, config } = this.#options
    const { socket } = connection
    await new Promise<void>((resolve, reject) => {
      const stalled = clock.after(config.socketStallMs, () => {
        this.#close(connection, SOCKET_CLOSE.tooSlow)
        reject(new TimeoutError(`a socket took nothing for ${config.socketStallMs} ms (api.socketStallMs)`))
      })
      socket.send(JSON.stringify(frame), (error) => {
        stalled.cancel()
        if (error == null) resolve()
        else reject(error)
      })
    })
    this.#metrics.frames.inc({ type: frame.type })
    if (frame.type === 'message' && connection.feed.isCaughtUp)
      this.#metrics.delaySeconds.observe(Math.max(0, clock.nowMs() - frame.message.at) / 1_000)
  }

  #close({ socket, feed }: Connection, code: number): void {
    feed.close()
    if (socket.readyState !== socket.OPEN) return
    this.#metrics.ends.inc({ code: String(code) })
    socket.close(code)
    const cut = this.#options.clock.after(CLOSE_GRACE_MS, () => socket.terminate())
    socket.once('close', () => cut.cancel())
  }
}
