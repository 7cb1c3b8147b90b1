// Runs every test below dist/ with Node's own runner. A plain list of files, because Node 20 does not expand patterns itself.
// Tests named *.servers.test.ts need real servers: `npm run test:servers` starts those and runs this with --servers.
import { randomInt } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

/** Files that share a process when everything is run: most of a small file's time is loading modules that its neighbours load too. */
const FILES_PER_PROCESS = { most: 12, least: 4 }
/** What starts threads, changes its own process, or counts its memory, has a process to itself. */
const ALONE = /new Worker\(|process\.(?:env\.\w+ =[^=]|exitCode|on\(|once\(|memoryUsage)|global\.gc/
/** What starts platforms, by this name in its text, waits for them more than it works: these come first, each in a process of its own. */
const PLATFORMS = /PlatformProcess|platform-process|crash-rounds/
/** One more than there are processors: somebody always waits for a platform, a disk or a clock. */
const CONCURRENCY = availableParallelism() + 1
/** A process that has not ended by now hangs: it fails by name, and what comes after it still runs. On servers chaos takes seven minutes and more, else none takes two. */
const TIMEOUT_MS = { onServers: 900_000, else: 420_000 }
/** Given to the processes of the tests: what dies young does so in a young generation of 32 MiB, as in the platform itself. */
const NODE_FLAGS = ['--enable-source-maps', '--max-semi-space-size=32']

/** A fixed seed, so that a failure is of the change and not of the day; `TEST_SEED=random` looks where nobody looked yet. */
const SEED = 20_251_121

const root = new URL('..', import.meta.url).pathname
const args = process.argv.slice(2)
const onServers = args.includes('--servers')
const wanted = args.filter((arg) => arg !== '--servers')
const given = process.env.TEST_SEED ?? SEED
const seed = given === 'random' ? randomInt(2 ** 31) : Number(given)
process.env.TEST_SEED = String(seed)
console.log(`seed ${seed} (TEST_SEED)`)
const groupsFolder = join(root, '.cache', `test-groups-${process.pid}`)
mkdirSync(groupsFolder, { recursive: true })
process.once('exit', () => rmSync(groupsFolder, { recursive: true, force: true }))
let groupsCount = 0
/** What each generated file holds. */
const names = new Map()

function* testsUnder(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === 'web') continue
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* testsUnder(path)
    else if (entry.name.endsWith('.test.js') && entry.name.endsWith('.servers.test.js') === onServers) yield path
  }
}

/** The files of one process: imported by one file that first sets the seed of properties, each in a suite of its own, so that its hooks stay its own. */
function group(files) {
  const path = join(groupsFolder, `${groupsCount++}.test.mjs`)
  const suites = files.map((file) => {
    return `describe(${JSON.stringify(relative(root, file))}, async () => { await import(${JSON.stringify(file)}) })`
  })
  const head = ["import { describe } from 'node:test'", "import fc from 'fast-check'", `fc.configureGlobal({ seed: ${seed} })`]
  writeFileSync(path, [...head, ...suites, ''].join('\n'))
  names.set(path, files.map((file) => relative(root, file)).join(' '))
  return path
}

/** The same tests in fewer processes, the long ones first: neighbours share one, and fewer of them the fewer are left, so that all processors end together. */
function grouped(files) {
  const texts = new Map(files.map((file) => [file, readFileSync(file, 'utf8')]))
  const platforms = files.filter((file) => PLATFORMS.test(texts.get(file)))
  const alone = files.filter((file) => !platforms.includes(file) && ALONE.test(texts.get(file)))
  // Those of whole flows, below test/, are the last of the list and the longest.
  const others = files.filter((file) => !platforms.includes(file) && !alone.includes(file)).reverse()
  const groups = [...platforms, ...alone].map((file) => group([file]))
  while (others.length > 0) {
    const share = Math.ceil(others.length / (3 * CONCURRENCY))
    groups.push(group(others.splice(0, Math.min(FILES_PER_PROCESS.most, Math.max(FILES_PER_PROCESS.least, share)))))
  }
  return groups
}

const files = [...testsUnder(join(root, 'dist'))].filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part))).sort()
if (files.length === 0) {
  console.error('no test matches')
  process.exit(1)
}
const isWhole = wanted.length === 0 && !onServers
// The runner gives its own flags to the processes that it starts.
process.execArgv.push(...NODE_FLAGS)
run({
  files: isWhole ? grouped(files) : files.map((file) => group([file])),
  concurrency: onServers ? availableParallelism() : CONCURRENCY,
  timeout: Number(process.env.TEST_FILE_TIMEOUT_MS ?? (onServers ? TIMEOUT_MS.onServers : TIMEOUT_MS.else)),
})
  // The report keeps the order of the files, so that one that takes long holds back all after it: what ended is told at once besides.
  .on('test:complete', ({ name, details }) => {
    if (!names.has(name) || (details.passed && !onServers)) return
    console.error(`${details.passed ? 'ended' : 'failed'} after ${Math.round(details.duration_ms / 1000)} s: ${names.get(name)}`)
  })
  .on('test:fail', ({ todo }) => {
    if (todo === undefined || todo === false) process.exitCode = 1
  })
  .compose(spec)
  .pipe(process.stdout)
