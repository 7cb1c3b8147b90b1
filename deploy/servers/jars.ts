import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { EnvironmentError } from '../../kernel/errors.ts'
import { ROOT } from '../../test/testing/repository.ts'

const FETCH_TIMEOUT_MS = 600_000
const POM = join(ROOT, 'deploy', 'servers', 'pom.xml')
const FOLDER = join(ROOT, '.cache', 'servers', 'lib')
/** The pom that was fetched: another one is fetched anew. */
const FETCHED = join(FOLDER, 'fetched-pom.xml')

/** Folder of the servers' jars, fetched from Maven Central at first use. EnvironmentError when Java or Maven is missing or answers with an error. */
export function serverJars(): string {
  const missing = missingForServers()
  if (missing !== null) throw new EnvironmentError('SERVERS_NOT_INSTALLED', missing)
  const pom = readFileSync(POM, 'utf8')
  if (existsSync(FETCHED) && readFileSync(FETCHED, 'utf8') === pom) return FOLDER
  mkdirSync(FOLDER, { recursive: true })
  const args = ['-q', '-B', '-f', POM, 'dependency:copy-dependencies', `-DoutputDirectory=${FOLDER}`]
  const { status, stdout, stderr } = spawnSync('mvn', args, { encoding: 'utf8', timeout: FETCH_TIMEOUT_MS })
  if (status !== 0)
    throw new EnvironmentError('SERVERS_NOT_FETCHED', `Maven could not fetch the servers: ${(stdout + stderr).slice(-1_000)}`)
  writeFileSync(FETCHED, pom)
  return FOLDER
}

/** The jar whose name begins so. */
export function jarNamed(prefix: string): string {
  const folder = serverJars()
  const jar = readdirSync(folder).find((name) => name.startsWith(prefix))
  if (jar === undefined)
    throw new EnvironmentError('SERVERS_NOT_FETCHED', `${folder} holds no ${prefix}*.jar; delete the folder and try again`)
  return join(folder, jar)
}

/** What keeps the servers from running here, in one sentence; null when nothing does. */
export function missingForServers(): string | null {
  if (!isInstalled('java')) return 'java is not installed (JDK 17 or newer)'
  const fetched = existsSync(FETCHED) && readFileSync(FETCHED, 'utf8') === readFileSync(POM, 'utf8')
  return fetched || isInstalled('mvn') ? null : 'mvn is not installed (Maven fetches the servers)'
}

/** Is there a program of this name? */
export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0
}
