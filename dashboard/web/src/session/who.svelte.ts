import { ApiError, messageOf, whenUnauthenticated } from '../api/client.ts'
import { session } from '../api/endpoints.ts'
import type { Who } from '../api/types.ts'

/** Remembers that there was a login, nothing of it: without one there is nobody to ask about, and no failed request to make. */
const LOGGED_IN = 'fleetpulse-logged-in'

/** Who is logged in: undefined while asking, null for nobody. */
class Session {
  who = $state<Who | null | undefined>(undefined)
  /** Why it is not known, when the platform did not answer. */
  error = $state('')
  /** A session ended under the user's hands. */
  ended = $state(false)

  start(): Promise<void> {
    whenUnauthenticated(() => this.lose())
    if (localStorage.getItem(LOGGED_IN) !== null) return this.ask()
    this.who = null
    return Promise.resolve()
  }

  async ask(): Promise<void> {
    this.error = ''
    try {
      this.who = await session.who()
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.lose()
      else this.error = messageOf(error)
    }
  }

  /** Throws ApiError. */
  async logIn(token: string): Promise<void> {
    this.who = await session.open(token)
    this.ended = false
    localStorage.setItem(LOGGED_IN, 'yes')
  }

  async logOut(): Promise<void> {
    await session.close()
    localStorage.removeItem(LOGGED_IN)
    this.who = null
  }

  lose(): void {
    if (this.who) this.ended = true
    localStorage.removeItem(LOGGED_IN)
    this.who = null
  }
}

export const sessionStore = new Session()
