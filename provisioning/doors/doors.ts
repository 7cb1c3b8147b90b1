import type { AuditTrail } from '../../contracts/audit.ts'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import { Lifecycle, type Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { FactoryAuthorities } from '../trust/factory-authorities.ts'
import { ClaimDoor } from './claim-door.ts'
import { signerOf, type Claims } from './claims.ts'
import type { EnrolmentConfig } from './config.ts'
import { EnrolmentDesk } from './enrolment-desk.ts'
import { EnrolmentSteps } from './enrolment-steps.ts'
import type { EnrolmentTokens } from './enrolment-tokens.ts'
import { Enrolment } from './enrolment.ts'
import { EnrolmentHook } from './hook.ts'
import { JustInTime } from './just-in-time.ts'

export interface DoorsOptions {
  documents: Documents
  authority: CertificateAuthority
  certificates: Certificates
  enrolmentTokens: EnrolmentTokens
  factoryAuthorities: FactoryAuthorities
  claims: Claims
  registrar: DeviceRegistrar
  auditTrail?: AuditTrail
  config: ProvisioningConfig
  enrolmentConfig: EnrolmentConfig
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** Longest stop of one of the doors, in ms: a device at the hook is waited for no longer. */
const STOP_TIMEOUT_MS = 2_000

/** Every door by which a device gets its first certificate, over the same steps. */
export class Doors implements Service {
  readonly name = 'doors'
  readonly enrolment: Enrolment
  readonly justInTime: JustInTime
  readonly claimDoor: ClaimDoor
  readonly #services: readonly Service[]
  readonly #lifecycle: Lifecycle
  #isStarted = false

  constructor(options: DoorsOptions) {
    const { enrolmentTokens: tokens, factoryAuthorities: authorities, clock, log } = options
    const hook = new EnrolmentHook(options)
    const steps = new EnrolmentSteps({ ...options, hook })
    this.enrolment = new Enrolment({ ...options, tokens, steps })
    this.justInTime = new JustInTime({ ...options, authorities, steps })
    this.claimDoor = new ClaimDoor({ ...options, steps })
    const desk = new EnrolmentDesk({
      ...options,
      claimDoor: this.claimDoor,
      justInTime: this.justInTime,
      signClaim: signerOf(options.authority),
    })
    this.#services = [hook, this.justInTime, desk]
    this.#lifecycle = new Lifecycle({ log, clock, stopTimeoutMs: STOP_TIMEOUT_MS })
  }

  async start(): Promise<void> {
    if (this.#isStarted) return
    this.#isStarted = true
    for (const service of this.#services) await this.#lifecycle.start(service)
  }

  async stop(): Promise<void> {
    this.#isStarted = false
    await this.#lifecycle.stopAll()
  }
}
