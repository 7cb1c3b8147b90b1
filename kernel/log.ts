import { isatty } from 'node:tty'
import { pino, type Logger as PinoLogger, type DestinationStream } from 'pino'
import { PinoPretty } from 'pino-pretty'
import { maskSecrets } from './mask.ts'

/** Structured logger: `log.info({ device, correlationId }, 'reading rejected')`. Secrets are typed (kernel/secret.ts) and print masked. */
export type Logger = PinoLogger

const STDERR = 2

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent'

/** Logs to stderr, so that stdout stays free for what a command answers: JSON lines, or plain ones where a person watches. */
export function createLogger(options: { level: LogLevel; name?: string; destination?: DestinationStream }): Logger {
  return pino(
    {
      level: options.level,
      base: options.name === undefined ? {} : { part: options.name },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: pino.stdTimeFunctions.isoTime,
      // Fields are masked by their name, and every line by what is in it: `redact` does not see a key within a text.
      hooks: { streamWrite: maskSecrets },
      redact: { paths: ['token', 'password', 'secret', 'authorization', '*.token', '*.password', '*.secret', '*.authorization', '*.key'], censor: '[masked]' },
    },
    options.destination ?? (isatty(STDERR) ? PinoPretty({ destination: STDERR, sync: true, ignore: 'part', translateTime: 'SYS:HH:MM:ss', singleLine: true }) : pino.destination({ fd: STDERR, sync: false, minLength: 0 })),
  )
}

export const silentLogger: Logger = pino({ level: 'silent' })
