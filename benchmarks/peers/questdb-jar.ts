import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../../test/testing/repository.ts'

const VERSION = '9.0.3'
const FETCH_TIMEOUT_MS = 300_000

/** The jar named by QUESTDB_JAR, or the one in `.cache/servers/` (fetched there with Maven); null when there is none. */
export function questdbJar(): string | null {
  const named = process.env.QUESTDB_JAR
  if (named !== undefined) return existsSync(named) ? named : null
  const folder = join(ROOT, '.cache', 'servers')
  const jar = join(folder, `questdb-${VERSION}.jar`)
  if (existsSync(jar)) return jar
  mkdirSync(folder, { recursive: true })
  const args = ['-q', 'dependency:copy', `-Dartifact=org.questdb:questdb:${VERSION}`, `-DoutputDirectory=${folder}`]
  spawnSync('mvn', args, { stdio: ['ignore', 'ignore', 'inherit'], timeout: FETCH_TIMEOUT_MS })
  return existsSync(jar) ? jar : null
}

/** Is there a program of this name? */
export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0
}
