import { ApiError } from '../api/client.ts'
import { session } from '../api/endpoints.ts'
import type { ConversationHint } from '../api/conversation-types.ts'
import type { AlertChange, Anomaly, DeviceEvent, IncidentChange, LiveReading } from '../api/types.ts'

interface Events {
  reading: LiveReading
  anomaly: Anomaly
  alert: AlertChange
  incident: IncidentChange
  device: DeviceEvent
  conversation: ConversationHint
  message: ConversationHint
  summary: ConversationHint
}
export type LiveState = 'off' | 'connecting' | 'live' | 'lost'

/** Readings that come along: none, everyone's (thinned by the server), or those of one device. */
export type WantedReadings = 'none' | 'all' | { device: string }

const NAMES = ['reading', 'anomaly', 'alert', 'incident', 'device', 'conversation', 'message', 'summary'] as const
const RETRY_MS = 2_000
/** A page nobody looks at gives its connection back: a browser opens only six to one host. */
const HIDDEN_FOR_MS = 20_000

/** The one stream of server-sent events of this page. */
class Live {
  state = $state<LiveState>('off')
  /** Grows each time the stream opens: what happened before was missed, so that whoever shows data asks for it again. */
  opened = $state(0)
  #running = false
  #wanted: WantedReadings = 'none'
  #source: EventSource | undefined
  #address = ''
  #retry: ReturnType<typeof setTimeout> | undefined
  #hidden: ReturnType<typeof setTimeout> | undefined
  readonly #listeners: { [N in keyof Events]: Set<(event: Events[N]) => void> } = {
    reading: new Set(),
    anomaly: new Set(),
    alert: new Set(),
    incident: new Set(),
    device: new Set(),
    conversation: new Set(),
    message: new Set(),
    summary: new Set(),
  }

  start(): void {
    if (this.#running) return
    this.#running = true
    document.addEventListener('visibilitychange', this.#onVisibility)
    this.#connect()
  }

  stop(): void {
    this.#running = false
    document.removeEventListener('visibilitychange', this.#onVisibility)
    clearTimeout(this.#hidden)
    this.#close()
    this.state = 'off'
  }

  on<N extends keyof Events>(name: N, listener: (event: Events[N]) => void): () => void {
    this.#listeners[name].add(listener)
    return () => this.#listeners[name].delete(listener)
  }

  /** Chooses the readings; returns the way to go back to none. */
  want(readings: WantedReadings): () => void {
    this.#choose(readings)
    return () => {
      if (this.#wanted === readings) this.#choose('none')
    }
  }

  #choose(readings: WantedReadings): void {
    this.#wanted = readings
    // One screen leaves and the next comes in the same turn: one reconnect for both.
    queueMicrotask(() => {
      if (this.#running && this.#source !== undefined && this.#address !== addressOf(this.#wanted)) this.#connect()
    })
  }

  #connect(): void {
    this.#close()
    if (this.state !== 'lost') this.state = 'connecting'
    this.#address = addressOf(this.#wanted)
    const source = new EventSource(this.#address)
    this.#source = source
    source.onopen = () => {
      this.state = 'live'
      this.opened++
    }
    source.onerror = () => {
      this.state = 'lost'
      if (source.readyState === EventSource.CLOSED) void this.#later()
    }
    for (const name of NAMES) source.addEventListener(name, (event) => this.#dispatch(name, event.data as string))
  }

  #dispatch<N extends keyof Events>(name: N, data: string): void {
    const event = JSON.parse(data) as Events[N]
    for (const listener of this.#listeners[name]) listener(event)
  }

  /** The browser gave up (any answer but 200): try again, unless the session ended, which the page answers with the login. */
  async #later(): Promise<void> {
    clearTimeout(this.#retry)
    const loggedIn = await session.who().then(
      () => true,
      (error: unknown) => !(error instanceof ApiError && error.status === 401),
    )
    if (loggedIn && this.#running && this.#source?.readyState === EventSource.CLOSED)
      this.#retry = setTimeout(() => this.#connect(), RETRY_MS)
  }

  #close(): void {
    clearTimeout(this.#retry)
    this.#source?.close()
    this.#source = undefined
  }

  readonly #onVisibility = (): void => {
    clearTimeout(this.#hidden)
    if (document.hidden) this.#hidden = setTimeout(() => this.#close(), HIDDEN_FOR_MS)
    else if (this.#source === undefined) this.#connect()
  }
}

function addressOf(wanted: WantedReadings): string {
  if (wanted === 'none') return '/api/v1/live'
  if (wanted === 'all') return '/api/v1/live?readings=true'
  return `/api/v1/live?readingsOf=${encodeURIComponent(wanted.device)}`
}

export const live = new Live()
