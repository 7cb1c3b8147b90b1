import { pino, type Logger as PinoLogger, type DestinationStream } from 'pino'

/** Structured logger: `log.info({ device, correlationId }, 'reading rejected')`. Secrets are typed (kernel/secret.ts) and print masked. */
export type Logger = PinoLogger

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** Logs JSON lines to stderr, so that stdout stays free for what a command answers. */
export function createLogger(options: { level: LogLevel; name?: string; destination?: DestinationStream }): Logger {
  return pino(
    {
      level: options.level,
      base: options.name === undefined ? {} : { part: options.name },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: ['token', 'password', 'secret', 'authorization', '*.token', '*.password', '*.secret', '*.authorization', '*.key'], censor: '[masked]' },
    },
    options.destination ?? pino.destination({ fd: 2, sync: false, minLength: 0 }),
  )
}

export const silentLogger: Logger = pino({ level: 'silent' })
