import { maskSecrets } from './mask.ts'

/** Whose fault an error is: it decides the exit code, the HTTP status and whether a loop retries. */
export type Fault = 'caller' | 'operator' | 'environment' | 'bug'

export interface ErrorOptions {
  /** One sentence telling a person what to do about it. */
  remedy?: string
  /** True when the same call may succeed later without anyone changing anything. */
  retryable?: boolean
  cause?: unknown
  /** Safe details (never secrets) for logs and API answers. */
  details?: Record<string, unknown>
}

/**
 * Base of every error Fleetpulse raises on purpose.
 * `code` is stable, upper snake case, and listed in docs/errors.md (a test keeps both equal).
 */
export class FleetpulseError extends Error {
  readonly code: string
  readonly fault: Fault
  readonly remedy: string | undefined
  readonly retryable: boolean
  readonly details: Record<string, unknown>

  constructor(code: string, fault: Fault, message: string, options: ErrorOptions = {}) {
    super(maskSecrets(message), options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.fault = fault
    this.remedy = options.remedy
    this.retryable = options.retryable ?? false
    this.details = options.details ?? {}
  }

  toJSON(): Record<string, unknown> {
    return { name: this.name, code: this.code, message: this.message, remedy: this.remedy, ...this.details }
  }
}

/** Our own invariant broke; stop and report. */
export class InternalError extends FleetpulseError {
  constructor(message: string, options: ErrorOptions = {}) {
    super('INTERNAL', 'bug', message, options)
  }
}

/** What a caller (device, API client, command line) sent cannot be accepted as it is. */
export class InvalidInputError extends FleetpulseError {
  constructor(message: string, options: ErrorOptions & { code?: string } = {}) {
    super(options.code ?? 'INVALID_INPUT', 'caller', message, options)
  }
}

/** The named thing does not exist (or the caller may not know that it does). */
export class NotFoundError extends FleetpulseError {
  constructor(message: string, options: ErrorOptions = {}) {
    super('NOT_FOUND', 'caller', message, options)
  }
}

/** The caller lost a race: a version, a unique key or a state moved underneath. */
export class ConflictError extends FleetpulseError {
  constructor(message: string, options: ErrorOptions & { code?: string } = {}) {
    super(options.code ?? 'CONFLICT', 'caller', message, options)
  }
}

/** The configuration cannot be used; `faults` names every key at once. */
export class ConfigError extends FleetpulseError {
  readonly faults: readonly ConfigFault[]
  constructor(faults: readonly ConfigFault[]) {
    super('CONFIG_INVALID', 'operator', faults.map((f) => `${f.key}: ${f.problem}; allowed: ${f.allowed}`).join('\n'), {
      remedy: 'Correct the named settings (environment FLEETPULSE_* or fleetpulse.config.json) and start again.',
    })
    this.faults = faults
  }
}

export interface ConfigFault {
  /** Dotted path and, where it came from the environment, the variable's name. */
  key: string
  problem: string
  allowed: string
}

/** Disk, network, another process: not our code and not the caller. */
export class EnvironmentError extends FleetpulseError {
  constructor(code: string, message: string, options: ErrorOptions = {}) {
    super(code, 'environment', message, options)
  }
}

/** A store holds what it must not hold: damaged, sealed with a key that is not here, or written by a newer version. Nothing is overwritten. */
export class StoreError extends FleetpulseError {
  constructor(
    code: 'STORE_CORRUPT' | 'STORE_NEWER' | 'STORE_SEALED' | 'STORE_UNUSABLE' | 'STORE_FULL',
    message: string,
    options: ErrorOptions = {},
  ) {
    super(code, 'environment', message, options)
  }
}

/** One document does not open: a loop passes it over instead of waiting for the store. */
export function isSealed(error: unknown): boolean {
  return error instanceof StoreError && error.code === 'STORE_SEALED'
}

/** A bounded wait ran out. */
export class TimeoutError extends FleetpulseError {
  constructor(message: string, options: ErrorOptions = {}) {
    super('TIMEOUT', 'environment', message, { retryable: true, ...options })
  }
}

/** A named bound was reached; the message names it. */
export class LimitError extends FleetpulseError {
  constructor(message: string, options: ErrorOptions = {}) {
    super('LIMIT_REACHED', 'caller', message, { retryable: true, ...options })
  }
}

/** Who asks is not known (401) or may not do this (403). */
export class AccessError extends FleetpulseError {
  constructor(code: 'UNAUTHENTICATED' | 'FORBIDDEN', message: string, options: ErrorOptions = {}) {
    super(code, 'caller', message, options)
  }
}

/** The message of anything thrown, with the chain of causes, for one log line or one sentence to a person. */
export function describeError(error: unknown): string {
  const parts: string[] = []
  let current: unknown = error
  for (let depth = 0; current !== undefined && current !== null && depth < 5; depth++) {
    parts.push(current instanceof Error ? current.message : String(current))
    current = current instanceof Error ? current.cause : undefined
  }
  return maskSecrets(parts.join(': '))
}
