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
}

/** Runs benches one after the other; a bench that fails does not keep the others from running. */
export async function runBenches(names: readonly string[]): Promise<void> {
  const unknown = names.filter((name) => !(name in BENCHES))
  if (unknown.length > 0) throw new InvalidInputError(`there is no bench ${unknown.join(', ')}; there are: ${Object.keys(BENCHES).join(', ')}`)
  for (const name of names.length > 0 ? names : Object.keys(BENCHES)) {
    process.stderr.write(`bench ${name}\n`)
    const exitCode = await run(fileURLToPath(new URL(BENCHES[name] as string, import.meta.url)))
    if (exitCode !== 0) {
      process.stderr.write(`bench ${name} ended with code ${exitCode}\n`)
      process.exitCode = 1
    }
  }
}

function run(program: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program], { stdio: 'inherit' })
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
