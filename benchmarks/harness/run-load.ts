import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { EnvironmentError } from '../../kernel/errors.ts'
import type { LoadResult } from '../load-generator.ts'

const GENERATOR = fileURLToPath(new URL('../load-generator.js', import.meta.url))

/** Runs the load generator as a process of its own; the options are its own, without the dashes. */
export function runLoad(options: Readonly<Record<string, string | number>>): Promise<LoadResult> {
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(process.execPath, [GENERATOR, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()))
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(output) as LoadResult)
      else reject(new EnvironmentError('LOAD_FAILED', `the load generator ended with code ${code}`))
    })
  })
}
