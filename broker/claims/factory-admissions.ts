import type { FactoryCredential, RemoteDoors } from '../../contracts/credential.ts'
import type { RegistryView } from '../../contracts/registry-view.ts'
import { describeError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import { sleep, type Clock } from '../../kernel/time.ts'
import { NOT_AUTHORISED, SERVER_UNAVAILABLE, type ConnectVerdict } from '../connect-check.ts'

/** Factory certificates known to be let in, about 100 bytes each; of a forgotten one the registry is asked again. */
const KNOWN_MAX = 200_000
/** How long this edge's view of the registry may take to hear of a device that was let in, and how often it is looked at, in ms. */
const VIEW_TIMEOUT_MS = 3_000
const VIEW_LOOK_MS = 5

export interface FactoryAdmissionsOptions {
  doors: RemoteDoors
  registry: RegistryView
  clock: Clock
  log: Logger
}

/** Asks the registry once about each factory certificate that connects here; whether it still counts is looked up with every connection. */
export class FactoryAdmissions {
  readonly #options: FactoryAdmissionsOptions
  readonly #known = new Set<string>()

  constructor(options: FactoryAdmissionsOptions) {
    this.#options = options
  }

  async admit(credential: FactoryCredential, certificatePem: string, origin: string): Promise<ConnectVerdict> {
    const { tenant, device, serial } = credential
    const key = `${tenant}/${device}/${serial}`
    if (this.#known.has(key)) return { status: 'accepted' }
    try {
      const answer = await this.#options.doors.admitFactory({ credential, certificatePem, origin })
      if (answer.status === 'refused') return refused(NOT_AUTHORISED, answer.detail)
      if (answer.status === 'pending') return refused(SERVER_UNAVAILABLE, answer.detail)
    } catch (error) {
      this.#options.log.error({ tenant, device, error: describeError(error) }, 'a factory certificate could not be decided about')
      return refused(SERVER_UNAVAILABLE, 'nobody could decide now')
    }
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.add(key)
    return (await this.#isSeen(credential))
      ? { status: 'accepted' }
      : refused(SERVER_UNAVAILABLE, 'this edge has not heard of the device yet')
  }

  async #isSeen({ tenant, device, serial }: FactoryCredential): Promise<boolean> {
    const { registry, clock } = this.#options
    const untilMs = clock.monotonicMs() + VIEW_TIMEOUT_MS
    for (;;) {
      const admission = registry.admit(tenant, device, serial)
      if (admission.status === 'admitted' || admission.reason !== 'unknown-device') return true
      if (clock.monotonicMs() >= untilMs) return false
      await sleep(clock, VIEW_LOOK_MS)
    }
  }
}

function refused(returnCode: number, detail: string): ConnectVerdict {
  return { status: 'refused', reason: 'factory-refused', returnCode, detail }
}
