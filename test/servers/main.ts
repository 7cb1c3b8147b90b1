import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { missingForServers } from '../../deploy/servers/jars.ts'
import { LocalServers } from '../../deploy/servers/local-servers.ts'
import { ROOT } from '../testing/repository.ts'
import { addressEnvironment } from '../testing/server-addresses.ts'

/*
 * npm run test:servers [-- PART…]: contract and acceptance suites on real Kafka, QuestDB and a server of MongoDB's protocol, started on
 * free ports in a folder that goes afterwards. What keeps the servers from running is said loudly; with FLEETPULSE_REQUIRE_SERVERS=1 it fails.
 */

const missing = missingForServers()
if (missing === null) process.exitCode = await runOnServers(process.argv.slice(2))
else {
  process.stderr.write(`\n*** SKIPPED: nothing was tested on Kafka, QuestDB and MongoDB: ${missing} ***\n\n`)
  process.exitCode = process.env.FLEETPULSE_REQUIRE_SERVERS === '1' ? 1 : 0
}

async function runOnServers(parts: readonly string[]): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetpulse-servers-'))
  const servers = new LocalServers(folder)
  try {
    process.stderr.write('starting kafka, questdb and the mongodb stand-in …\n')
    await servers.start()
    const { kafka, questdb, mongodb } = servers
    const env = addressEnvironment({
      kafka: kafka.address,
      questdbHttp: questdb.address,
      questdbPg: questdb.pgAddress,
      mongodb: mongodb.address,
    })
    return await runTests(parts, env)
  } finally {
    await servers.stop()
    rmSync(folder, { recursive: true, force: true })
  }
}

function runTests(parts: readonly string[], env: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(ROOT, 'test', 'run.mjs'), '--servers', ...parts], {
      stdio: 'inherit',
      env: { ...process.env, ...env },
    })
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
