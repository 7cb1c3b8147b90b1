import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Metrics } from '../../kernel/metrics.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { EventLog } from '../../storage/event-log/event-log.ts'
import type { CertificateAuthority } from '../ca/authority.ts'
import type { Certificates } from '../certificates.ts'
import type { ProvisioningConfig } from '../config.ts'
import type { Enrolment } from '../doors/enrolment.ts'
import type { RotationConfig } from './config.ts'
import { RenewalDesk } from './renewal-desk.ts'
import { RotationFollower } from './rotation-follower.ts'
import { RotationStore } from './rotation-store.ts'
import { Rotation } from './rotation.ts'

export interface RotationServiceOptions {
  documents: Documents
  eventLog: EventLog
  authority: CertificateAuthority
  certificates: Certificates
  enrolment: Enrolment
  registrar: Pick<DeviceRegistrar, 'findDevice'>
  config: RotationConfig
  /** What a certification request may be. */
  limits: Pick<ProvisioningConfig, 'deviceKeyTypes' | 'estBodyBytesMax' | 'rsaBitsMin' | 'rsaBitsMax'>
  clock: Clock
  log: Logger
  metrics: Metrics
}

/** Rotation of device certificates, whole: what happens by time, and what edges and the registry tell. Runs where the CA's key is. */
export class RotationService implements Service {
  readonly name = 'rotation'
  readonly rotation: Rotation
  readonly #store: RotationStore
  readonly #follower: RotationFollower

  constructor(options: RotationServiceOptions) {
    const store = new RotationStore(options.documents)
    this.#store = store
    this.rotation = new Rotation({ ...options, store })
    this.#follower = new RotationFollower({ ...options, rotation: this.rotation, desk: new RenewalDesk({ ...options, store }) })
  }

  async start(): Promise<void> {
    await this.#store.open()
    await this.rotation.start()
    await this.#follower.start()
  }

  async stop(): Promise<void> {
    await this.#follower.stop()
    await this.rotation.stop()
    this.#store.close()
  }
}
