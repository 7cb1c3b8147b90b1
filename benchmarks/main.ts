import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { InvalidInputError } from '../kernel/errors.ts'

/** Every bench by name; each is a program of its own that prints lines of JSON. */
export const BENCHES: Readonly<Record<string, string>> = {
  'event-log': './event-log.js',
  series: './series.js',
  'strict-packets': './strict-packets.js',
  windows: './windows.js',
  detector: './detector.js',
  models: './models.js',
  training: './training.js',
  ingest: './road.js',
  'alert-latency': './alert-latency.js',
  digests: './digests.js',
  conversations: './conversations.js',
  webhooks: './webhooks.js',
  revocation: './revocation.js',
  kill: './kill.js',
  connections: './connections.js',
  enrolment: './enrolment.js',
  'fleet-size': './fleet-size.js',
  'million-series': './million-series.js',
  peers: './peers.js',
}

/**
 * Runs benches one after the other; a bench that fails does not keep the others from running. From the first `--option` on, arguments
 * are the bench's own, and then exactly one bench must be named.
 */
export async function runBenches(args: readonly string[]): Promise<void> {
  const firstOption = args.findIndex((arg) => arg.startsWith('-'))
  const names = firstOption < 0 ? args : args.slice(0, firstOption)
  const options = firstOption < 0 ? [] : args.slice(firstOption)
  if (options.length > 0 && names.length !== 1) throw new InvalidInputError(`${options[0]} is an option of one bench: name one`)
  const unknown = names.filter((name) => !(name in BENCHES))
  if (unknown.length > 0)
    throw new InvalidInputError(`there is no bench ${unknown.join(', ')}; there are: ${Object.keys(BENCHES).join(', ')}`)
  for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
    process.stderr.write(`bench ${name}\n`)
    const exitCode = await run(fileURLToPath(new URL(BENCHES[name] as string, import.meta.url)), options)
    if (exitCode !== 0) {
      process.stderr.write(`bench ${name} ended with code ${exitCode}\n`)
      process.exitCode = 1
    }
  }
}

function run(program: string, options: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...options], { stdio: 'inherit' })
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
