import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { EnvironmentError, StoreError } from '../kernel/errors.ts'
import { DataFolder, readRuntimeInfo } from './data-folder.ts'

const INFO = { pid: 1, api: 'http://127.0.0.1:1', mqtts: 1, wss: 2, https: 3, pki: 'http://127.0.0.1:4', startedAt: 5 }

function parent(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'data-folder-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

const modeOf = (path: string): number => statSync(path).mode & 0o777

/** A Node process that does nothing, and its end. */
function otherNode(t: TestContext): number {
  const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  t.after(() => child.kill('SIGKILL'))
  return child.pid as number
}

test('is made for its user alone, says where the platform listens, and is given back without a trace', async (t) => {
  const folder = new DataFolder(join(parent(t), 'deep', 'data'))
  await folder.open()
  assert.equal(modeOf(folder.path), 0o700)
  assert.equal(readRuntimeInfo(folder.path), null)
  await folder.publish(INFO)
  assert.deepEqual(readRuntimeInfo(folder.path), INFO)
  folder.close()
  assert.equal(readRuntimeInfo(folder.path), null)
  assert.deepEqual(readdirSync(folder.path), ['format.json'])
  await folder.open()
  folder.close()
})

test('is claimed by one alone; who was refused takes nothing from the owner', async (t) => {
  const path = join(parent(t), 'data')
  const owner = new DataFolder(path)
  await owner.open()
  await owner.publish(INFO)
  const second = new DataFolder(path)
  await assert.rejects(
    second.open(),
    (error: unknown) => error instanceof EnvironmentError && error.code === 'DATA_IN_USE' && error.message.includes(String(process.pid)),
  )
  second.close()
  assert.deepEqual(readRuntimeInfo(path), INFO)
  await assert.rejects(second.open(), { code: 'DATA_IN_USE' })
  owner.close()
  await second.open()
  second.close()
})

test('of many that start at once on a stale lock exactly one gets it', async (t) => {
  const path = join(parent(t), 'data')
  mkdirSync(path)
  writeFileSync(join(path, 'format.json'), '{"format":1}')
  writeFileSync(join(path, 'lock'), JSON.stringify({ pid: 2 ** 22, begun: 'long ago' }))
  const url = new URL('./data-folder.js', import.meta.url).href
  const program = `import { DataFolder } from ${JSON.stringify(url)}
    const folder = new DataFolder(process.argv[1])
    folder.open().then(() => { process.stdout.write('mine'); setInterval(() => {}, 1000) }, (error) => process.stdout.write(error.code))`
  const children = Array.from({ length: 6 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', program, path], { stdio: ['ignore', 'pipe', 'inherit'] }),
  )
  t.after(() => children.forEach((child) => child.kill('SIGKILL')))
  const answers = await Promise.all(
    children.map((child) => new Promise<string>((resolve) => child.stdout.once('data', (text: Buffer) => resolve(text.toString())))),
  )
  assert.deepEqual(answers.toSorted(), ['DATA_IN_USE', 'DATA_IN_USE', 'DATA_IN_USE', 'DATA_IN_USE', 'DATA_IN_USE', 'mine'])
})

test(
  'a lock left by a crash is taken over, also when its number is another Node process by now, or our own',
  { skip: !existsSync('/proc/self/stat') },
  async (t) => {
    const path = join(parent(t), 'data')
    for (const pid of [2 ** 22, otherNode(t), process.pid, process.ppid]) {
      const folder = new DataFolder(path)
      await folder.open()
      folder.close()
      writeFileSync(join(path, 'lock'), JSON.stringify({ pid, begun: 'another boot/1' }))
      await folder.open()
      assert.equal((JSON.parse(readFileSync(join(path, 'lock'), 'utf8')) as { pid: number }).pid, process.pid)
      folder.close()
    }
  },
)

test('a lock of a process that runs is respected where nothing tells when it began; what is no lock is not', async (t) => {
  const path = join(parent(t), 'data')
  const folder = new DataFolder(path)
  await folder.open()
  folder.close()
  writeFileSync(join(path, 'lock'), JSON.stringify({ pid: otherNode(t), begun: null }))
  await assert.rejects(folder.open(), { code: 'DATA_IN_USE' })
  for (const text of ['', '0', 'null', '{"pid":"x"}', '\u0000']) {
    writeFileSync(join(path, 'lock'), text)
    await folder.open()
    folder.close()
  }
})

test('a folder of a newer version, or with a damaged format, is refused and nothing in it is changed', async (t) => {
  const path = join(parent(t), 'data')
  mkdirSync(path)
  chmodSync(path, 0o755)
  for (const [text, code] of [
    ['{"format":2}', 'STORE_NEWER'],
    ['{"format":"1"}', 'STORE_CORRUPT'],
    ['{"format":0}', 'STORE_CORRUPT'],
    ['null', 'STORE_CORRUPT'],
    ['', 'STORE_CORRUPT'],
  ] as const) {
    writeFileSync(join(path, 'format.json'), text)
    await assert.rejects(
      new DataFolder(path).open(),
      (error: unknown) => error instanceof StoreError && error.code === code && error.remedy !== undefined,
      text,
    )
    assert.equal(readFileSync(join(path, 'format.json'), 'utf8'), text)
    assert.deepEqual(readdirSync(path), ['format.json'])
    assert.equal(modeOf(path), 0o755)
  }
})

test('a folder that holds other things keeps its mode', async (t) => {
  const path = parent(t)
  writeFileSync(join(path, 'letter.txt'), 'Dear')
  chmodSync(path, 0o755)
  const folder = new DataFolder(path)
  await folder.open()
  folder.close()
  assert.equal(modeOf(path), 0o755)
})

test('a path that cannot be a folder is said in a sentence with a remedy', async (t) => {
  const file = join(parent(t), 'file')
  writeFileSync(file, 'x')
  for (const path of [file, join(file, 'data')]) {
    await assert.rejects(
      new DataFolder(path).open(),
      (error: unknown) => error instanceof StoreError && error.code === 'STORE_UNUSABLE' && /FLEETPULSE_DATA/.test(error.remedy ?? ''),
    )
  }
  assert.equal(readFileSync(file, 'utf8'), 'x')
})

test('a runtime.json that cannot be read is an error, not an absent platform', async (t) => {
  const path = parent(t)
  writeFileSync(join(path, 'runtime.json'), '{')
  assert.throws(() => readRuntimeInfo(path), { code: 'STORE_CORRUPT' })
})
