import { spawn, spawnSync } from 'node:child_process'

/** A reason to skip, printed loudly, when one of the programs is not installed; false when all are. */
export function skipWithout(...programs: string[]): string | false {
  const missing = programs.filter((program) => spawnSync(program, [program === 'openssl' ? 'version' : '--version']).error !== undefined)
  return missing.length === 0 ? false : `NOT TESTED: ${missing.join(' and ')} not installed`
}

export interface Outcome {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a program to its end, giving it `input`. */
export function run(program: string, args: readonly string[], input?: string | Uint8Array): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString('latin1')))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString('latin1')))
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, stdout, stderr }))
    // A program may end without having read all: its exit code tells what it thought of that.
    child.stdin.on('error', (error) => (stderr += `stdin: ${error.message}\n`))
    child.stdin.end(input)
  })
}

/** Runs openssl and wants success. */
export async function openssl(args: readonly string[], input?: string | Uint8Array): Promise<string> {
  const outcome = await run('openssl', args, input)
  if (outcome.code !== 0) throw new Error(`openssl ${args.join(' ')} failed: ${outcome.stderr}${outcome.stdout}`)
  return outcome.stdout
}
