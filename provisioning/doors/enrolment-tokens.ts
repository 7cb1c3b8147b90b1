import { createHash, randomBytes } from 'node:crypto'
import type { DeviceRegistrar } from '../../contracts/registrar.ts'
import { isDeviceId } from '../../contracts/device.ts'
import { ConflictError, describeError, InternalError, InvalidInputError, LimitError } from '../../kernel/errors.ts'
import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import { every, type Clock, type Timer } from '../../kernel/time.ts'
import type { Collection, Documents } from '../../storage/documents/documents.ts'
import type { ProvisioningConfig } from '../config.ts'

export interface EnrolmentTokensOptions {
  documents: Documents
  registrar: DeviceRegistrar
  config: ProvisioningConfig
  clock: Clock
  log: Logger
}

export interface TokenRequest {
  tenant: string
  deviceId: string
  /** Undefined: the type the device has, or `generic` for an unknown one. */
  type?: string
  /** Who asks: `user:NAME` or `system`. */
  by: string
}

interface TokenRecord {
  tenant: string
  device: string
  createdAt: number
  expiresAt: number
  usedAt: number | null
  by: string
}

/** A token that may be used now. `version` makes its use a compare-and-set. */
export interface UsableToken {
  id: string
  version: number
  tenant: string
  device: string
}

export type TokenCheck =
  { status: 'usable'; token: UsableToken } | { status: 'refused'; reason: 'unknown-token' | 'other-device' | 'expired' | 'used' }

const TOKEN_BYTES = 32

/**
 * One-time tokens with which a device that has no certificate yet enrols. Only a SHA-256 hash is stored: a token has 256 random bits,
 * so there is nothing a slower hash would protect.
 */
export class EnrolmentTokens implements Service {
  readonly name = 'enrolment-tokens'
  readonly #options: EnrolmentTokensOptions
  #collection: Collection<TokenRecord> | undefined
  /** Tokens stored; only this process writes them. */
  #stored = 0
  #timer: Timer | undefined
  #sweeping: Promise<void> | undefined

  constructor(options: EnrolmentTokensOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#collection !== undefined) return
    const { clock, config, documents, log } = this.#options
    const collection = await documents.collection<TokenRecord>({
      name: 'enrolment-tokens',
      indexes: [{ name: 'by-expiry', paths: ['expiresAt'] }],
    })
    this.#stored = await collection.count({})
    this.#collection = collection
    await this.sweep()
    const onError = (error: unknown): void => log.error({ error: describeError(error) }, 'expired enrolment tokens could not be removed')
    this.#timer = every(clock, config.tokenSweepIntervalMs, () => (this.#sweeping = this.sweep()), onError)
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await Promise.allSettled([this.#sweeping])
    this.#collection = undefined
  }

  /**
   * Registers the device if it is unknown and makes a token for it; the token is shown here and nowhere again.
   * Throws InvalidInputError (deviceId, type), ConflictError (decommissioned, other type), LimitError.
   */
  async create(request: TokenRequest): Promise<{ token: string; expiresAt: number }> {
    const { tenant, deviceId, type, by } = request
    if (!isDeviceId(deviceId)) {
      throw new InvalidInputError(
        `deviceId: "${deviceId.slice(0, 64)}" is not a device id; allowed: 1 to 64 letters, digits, dots, underscores and hyphens, a letter or digit first`,
        {
          details: { field: 'deviceId' },
        },
      )
    }
    const collection = this.#opened()
    if (this.#stored >= this.#options.config.tokensMax) {
      throw new LimitError(`There are ${this.#options.config.tokensMax} enrolment tokens already (tokensMax).`, {
        remedy: 'Wait until some expire, or raise provisioning.tokensMax.',
      })
    }
    const registration = await this.#options.registrar.ensureRegistered(tenant, deviceId, type, by)
    if (registration.status === 'refused') throw refusedRegistration(registration.reason, deviceId, type)
    const token = randomBytes(TOKEN_BYTES).toString('base64url')
    const nowMs = this.#options.clock.nowMs()
    const expiresAt = nowMs + this.#options.config.tokenLifetimeMs
    await collection.put(hashOf(token), { tenant, device: deviceId, createdAt: nowMs, expiresAt, usedAt: null, by })
    this.#stored++
    this.#options.log.debug({ tenant, device: deviceId, by, expiresAt }, 'enrolment token created')
    return { token, expiresAt }
  }

  /** Looks a token up without using it. */
  async check(deviceId: string, token: string): Promise<TokenCheck> {
    const record = await this.#opened().get(hashOf(token))
    if (record === null) return { status: 'refused', reason: 'unknown-token' }
    if (record.device !== deviceId) return { status: 'refused', reason: 'other-device' }
    if (record.usedAt !== null) return { status: 'refused', reason: 'used' }
    if (record.expiresAt <= this.#options.clock.nowMs()) return { status: 'refused', reason: 'expired' }
    return { status: 'usable', token: { id: record._id, version: record.version, tenant: record.tenant, device: record.device } }
  }

  /** Uses it up; of several at once exactly one is answered true. Durable before it answers. */
  async use(token: UsableToken): Promise<boolean> {
    const result = await this.#opened().update(token.id, { $set: { usedAt: this.#options.clock.nowMs() } }, token.version)
    return result.status === 'written'
  }

  /** Removes every token of a device; resolves with how many could still have been used. */
  async withdraw(tenant: string, device: string): Promise<number> {
    const usable = await this.#opened().count({ tenant, device, usedAt: null, expiresAt: { $gt: this.#options.clock.nowMs() } })
    this.#stored -= await this.#opened().deleteMany({ tenant, device })
    return usable
  }

  /** Removes expired tokens, used or not. */
  async sweep(): Promise<void> {
    const removed = await this.#opened().deleteMany({ expiresAt: { $lte: this.#options.clock.nowMs() } })
    this.#stored -= removed
  }

  #opened(): Collection<TokenRecord> {
    if (this.#collection === undefined) throw new InternalError('enrolment tokens are used before their start or after their stop')
    return this.#collection
  }
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

function refusedRegistration(
  reason: 'unknown-type' | 'other-type' | 'decommissioning' | 'decommissioned',
  deviceId: string,
  type: string | undefined,
): Error {
  if (reason === 'unknown-type') {
    return new InvalidInputError(`type: there is no device type "${(type ?? '').slice(0, 64)}"`, {
      details: { field: 'type' },
      remedy: 'Create the device type first, or use "generic".',
    })
  }
  if (reason === 'other-type') {
    return new ConflictError(`Device ${deviceId} exists and is not of type "${type ?? ''}".`, {
      details: { field: 'type' },
      remedy: 'Leave the type out to keep the one it has.',
    })
  }
  const problem = reason === 'decommissioned' ? 'was decommissioned and cannot enrol again' : 'is being decommissioned and cannot enrol'
  return new ConflictError(`Device ${deviceId} ${problem}.`, {
    details: { field: 'deviceId' },
    remedy: 'Give the device a new id.',
  })
}
