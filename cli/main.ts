import { reportFailure } from './failure.ts'
import { programFor } from './program.ts'

const ALIVE_MS = 60_000

// The platform's timers do not keep a process alive: a command that waits, for a broker to come back say, must not just end.
const alive = setInterval(() => undefined, ALIVE_MS)
try {
  const program = await programFor(process.argv[2] ?? '')
  await program.parseAsync()
} catch (error) {
  process.exitCode = reportFailure(error, process.argv.includes('--json'))
} finally {
  clearInterval(alive)
}
