import { ConfigError, describeError, FleetpulseError } from '../kernel/errors.ts'

export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3, interrupted: 130 } as const

/** Prints what went wrong, in one plain sentence and what to do; answers the exit code. */
export function reportFailure(error: unknown, json: boolean): number {
  if (json) process.stdout.write(`${JSON.stringify({ error: error instanceof FleetpulseError ? error : { code: 'INTERNAL', message: describeError(error) } })}\n`)
  if (error instanceof ConfigError) {
    const count = error.faults.length
    process.stderr.write(`fleetpulse: ${count} ${count === 1 ? 'setting is' : 'settings are'} wrong\n`)
    for (const fault of error.faults) process.stderr.write(`  ${fault.key}: ${fault.problem}; allowed: ${fault.allowed}\n`)
  } else {
    process.stderr.write(`fleetpulse: ${describeError(error)}\n`)
  }
  if (error instanceof FleetpulseError) {
    if (error.remedy !== undefined) process.stderr.write(`  ${error.remedy}\n`)
    if (error.code === 'PLATFORM_UNREACHABLE') return EXIT.unreachable
    return error.fault === 'operator' || error.fault === 'caller' ? EXIT.usage : EXIT.failed
  }
  if (process.env.FLEETPULSE_DEBUG !== undefined && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`)
  return EXIT.failed
}
