// Runs every test below dist/ with Node's own runner. A plain list of files, because Node 20 does not expand patterns itself.
// Tests named *.servers.test.ts need real servers: `npm run test:servers` starts those and runs this with --servers.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

const root = new URL('..', import.meta.url).pathname
const args = process.argv.slice(2)
const onServers = args.includes('--servers')
const wanted = args.filter((arg) => arg !== '--servers')

function* testsUnder(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === 'web') continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* testsUnder(path)
    else if (entry.name.endsWith('.test.js') && entry.name.endsWith('.servers.test.js') === onServers) yield path
  }
}

const files = [...testsUnder(join(root, 'dist'))].filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part))).sort()
if (files.length === 0) {
  console.error('no test matches')
  process.exit(1)
}
const child = spawn(process.execPath, ['--enable-source-maps', '--test', '--test-reporter=spec', `--test-concurrency=${availableParallelism()}`, ...files], { stdio: 'inherit', cwd: root })
child.once('exit', (code) => process.exit(code ?? 1))
