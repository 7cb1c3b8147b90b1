import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Command } from 'commander'
import { PlatformProcess, until } from '../test/testing/platform-process.ts'
import { programFor } from './program.ts'

const MAIN = fileURLToPath(new URL('./main.js', import.meta.url))
const LAUNCHER = fileURLToPath(new URL('../../fleetpulse', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'cli-'))
const platform = new PlatformProcess()
const ANY_PORTS = { FLEETPULSE_MQTTS_PORT: '0', FLEETPULSE_WSS_PORT: '0', FLEETPULSE_HTTPS_PORT: '0', FLEETPULSE_API_PORT: '0', FLEETPULSE_PKI_HTTP_PORT: '0' }

interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** Runs a command of the CLI to its end. */
function run(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((resolve) => {
    const options = { cwd: folder, env: { ...process.env, FLEETPULSE_LOG_LEVEL: 'warn', ...env }, timeout: 300_000 }
    execFile(process.execPath, [MAIN, ...args], options, (error, stdout, stderr) => resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }))
  })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const firstLine = (text: string): string => text.split('\n')[0] ?? ''

let firstStoredMs = 0
before(async () => {
  const startedAt = performance.now()
  await platform.start(['--simulate', '12'])
  await until('the first stored reading', async () => (await platform.get<{ stored: number }>('/ledger?summary=true')).stored > 0)
  firstStoredMs = performance.now() - startedAt
})
after(async () => {
  await platform.remove()
  rmSync(folder, { recursive: true, force: true })
})

test('start --simulate 12: every device joins, with a certificate of its own, and its readings are stored', async (t) => {
  t.diagnostic(`start to the first stored reading: ${Math.round(firstStoredMs)} ms`)
  const devices = await until('all devices active', async () => {
    const { items } = await platform.get<{ items: { id: string; type: string }[] }>('/devices?state=active')
    return items.length === 12 && items
  })
  assert.equal(new Set(devices.map(({ type }) => type)).size, 4)
  const certificates = await platform.get<{ items: { serial: string }[] }>('/certificates')
  assert.equal(new Set(certificates.items.map(({ serial }) => serial)).size, 12)
  for (const { id } of devices) await until(`a reading of ${id}`, async () => (await platform.get<{ items: unknown[] }>(`/readings?device=${id}&limit=1`)).items.length === 1)
})

/** Commands that are run, with the words that lead to them. */
function leaves(command: Command, words: readonly string[] = []): { command: Command; words: readonly string[] }[] {
  if (command.commands.length === 0) return [{ command, words }]
  return command.commands.flatMap((inner) => leaves(inner, [...words, inner.name()]))
}

function helpOf(command: Command): string {
  let text = ''
  command.configureOutput({ writeOut: (more) => void (text += more) })
  command.outputHelp()
  return text
}

test('the help of every command says what it does, with an example', async () => {
  const { stdout, code } = await run(['--help'])
  assert.equal(code, 0)
  const commands = [...stdout.matchAll(/^ {2}([a-z-]+) .*$/gm)].map((match) => match[1] as string).filter((name) => name !== 'help')
  assert.deepEqual(commands, ['start', 'provision', 'device', 'revoke', 'import', 'simulate', 'chat', 'proposal', 'dead-letters', 'api-key', 'trace', 'replay', 'score', 'feedback', 'rules', 'replay-anomaly', 'backtest', 'verify', 'ca', 'migrate', 'bench', 'doctor'])
  const all = leaves(await programFor(''))
  assert.ok(all.length > commands.length, `${all.length} commands are run`)
  for (const { command, words } of all) {
    const text = helpOf(command)
    assert.match(text, new RegExp(`Examples?:\\n[^]*fleetpulse ${words.join(' ')}`))
    assert.match(text, /--json/, words.join(' '))
  }
  const inner = await run(['device', 'decommission', '--help'])
  assert.deepEqual([inner.code, inner.stderr], [0, ''])
  assert.match(inner.stdout, /Examples?:\n[^]*fleetpulse device decommission/)
})

test('a first start with a named PKI port makes its CAs, whose certificates say that address', async () => {
  const port = await freePort()
  const other = new PlatformProcess({ FLEETPULSE_PKI_HTTP_PORT: String(port) })
  try {
    const { pki } = await other.start()
    assert.equal(new URL(pki ?? '').port, String(port))
    const issuing = new X509Certificate(readFileSync(join(other.data, 'pki', 'issuing.crt')))
    assert.ok(issuing.toString().length > 0)
    assert.match(Buffer.from(issuing.raw).toString('latin1'), new RegExp(`http://[^/]+:${port}/crl/`))
  } finally {
    await other.remove()
  }
})

test('wrong usage ends with 2 and says what is wrong', async () => {
  const wrong = [
    [],
    ['bogus'],
    ['start', '--bogus'],
    ['provision', 'device', 'x', '--bogus'],
    ['simulate', '--duration', 'long'],
    ['replay', 'f.csv', '--device', 'd', '--cert-dir', 'nowhere'],
    ['score', '--in', 'nowhere', '--out', 'out'],
    ['backtest'],
    ['backtest', '--in', '.', '--detector', 'oracle'],
    ['verify'],
    ['verify', 'ledger', '--from', 'yesterday'],
    ['verify', 'ledger', '--data', platform.data, '--device', 'nobody'],
  ]
  const outcomes = await Promise.all(wrong.map((args) => run(args)))
  for (const [i, { code, stderr }] of outcomes.entries()) {
    assert.equal(code, 2, `${(wrong[i] ?? []).join(' ')}: ${code} ${stderr}`)
    assert.ok(stderr.length > 0 && !/\n {4}at /.test(stderr), `a stack is no message: ${stderr}`)
  }
})

test('verify ledger: a platform in the middle of its work accounts for everything', async () => {
  const { code, stdout, stderr } = await run(['verify', 'ledger', '--data', platform.data, '--json'])
  assert.equal(code, 0, stdout + stderr)
  const report = JSON.parse(stdout) as Record<string, unknown>
  assert.deepEqual([report.agrees, report.devices, report.unaccounted, report.faults], [true, 12, 0, []])
  const text = await run(['verify', 'ledger', '--data', platform.data])
  assert.match(text.stdout, /^12 devices: [^]*Everything acknowledged is accounted for\.\n$/)
})

test('start with three wrong settings names all three, and makes nothing', async () => {
  const env = { FLEETPULSE_MQTTS_PORT: '70000', FLEETPULSE_LOG_LEVEL: 'loud', FLEETPULSE_DATA: join(folder, 'never') }
  const file = join(folder, 'wrong.json')
  writeFileSync(file, '{"api":{"prot":1}}')
  const { code, stdout, stderr } = await run(['start', '--config', file, '--print-ready'], env)
  assert.equal(code, 2)
  assert.equal(stdout.includes('"ready"'), false)
  assert.equal(firstLine(stderr), 'fleetpulse: 3 settings are wrong')
  for (const name of ['FLEETPULSE_MQTTS_PORT', 'FLEETPULSE_LOG_LEVEL', 'api.prot', '0 to 65535']) assert.ok(stderr.includes(name), name)
  assert.ok(!existsSync(env.FLEETPULSE_DATA))
  const validated = await run(['start', '--validate', '--json'], { FLEETPULSE_DATA: env.FLEETPULSE_DATA })
  assert.deepEqual([validated.code, validated.stdout], [0, '{"valid":true}\n'])
})

test('a second platform on the folder is refused, and the first goes on', async () => {
  const { code, stderr } = await run(['start', '--data', platform.data], ANY_PORTS)
  assert.equal(code, 1)
  assert.match(stderr, /is in use by process \d+/)
  assert.ok(existsSync(join(platform.data, 'runtime.json')), 'who was refused takes nothing away')
  assert.ok((await platform.get<{ stored: number }>('/ledger?summary=true')).stored > 0)
})

test('a port in use is named with its setting, whichever it is, and the folder is free again', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, resolve))
  const port = String((other.address() as AddressInfo).port)
  const variables = ['FLEETPULSE_WSS_PORT', 'FLEETPULSE_HTTPS_PORT', 'FLEETPULSE_API_PORT']
  await Promise.all(
    variables.map(async (variable) => {
      const data = join(folder, variable)
      const { code, stderr } = await run(['start', '--data', data], { ...ANY_PORTS, [variable]: port })
      assert.equal(code, 1, `${variable}: ${stderr}`)
      assert.ok(stderr.includes(port) && stderr.includes(variable) && /in use/.test(stderr), `${variable}: ${stderr}`)
      assert.ok(!existsSync(join(data, 'lock')), variable)
      assert.ok(!/died|fatal/.test(stderr), stderr)
    }),
  )
  other.close()
})

test('SIGTERM at any moment of the start ends it with 0 and leaves the folder free; a second signal changes nothing', async () => {
  const moments = [200, 900, 1_800]
  await Promise.all(
    moments.map(async (delayMs) => {
      const data = join(folder, `stopped-${delayMs}`)
      const env = { ...process.env, ...ANY_PORTS, FLEETPULSE_LOG_LEVEL: 'warn' }
      const args = ['start', '--simulate', '2', '--print-ready', '--data', data]
      const child = spawn(process.execPath, [MAIN, ...args], { cwd: folder, env, stdio: ['ignore', 'ignore', 'pipe'] })
      let stderr = ''
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
      const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
      await until('it has begun', async () => existsSync(join(data, 'lock')) || child.exitCode !== null)
      await wait(delayMs)
      child.kill('SIGTERM')
      child.kill('SIGINT')
      assert.equal(await exited, 0, `after ${delayMs} ms: ${stderr}`)
      assert.ok(!existsSync(join(data, 'lock')))
      assert.ok(!/did not stop|died/.test(stderr), stderr)
    }),
  )
})

test('the launcher refuses a young generation that is no size, and starts with one that is', async () => {
  const launch = (size: string) =>
    new Promise<{ code: number; stderr: string }>((resolve) => {
      const env = { ...process.env, FLEETPULSE_SEMI_SPACE_MB: size }
      execFile(LAUNCHER, ['--version'], { env }, (error, _stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code ?? -1), stderr }),
      )
    })
  for (const size of ['0', '032', '513', '1e2', 'x', '64 --inspect']) {
    const { code, stderr } = await launch(size)
    assert.equal(code, 2, size)
    assert.match(stderr, /FLEETPULSE_SEMI_SPACE_MB .*from 1 to 512/)
  }
  for (const size of ['', '16', '512']) assert.deepEqual(await launch(size), { code: 0, stderr: '' })
})

test('without a platform the commands that need one end with 3 and say how to start it', async () => {
  const data = join(folder, 'nobody')
  const { code: unreachable, stderr } = await run(['simulate', '--data', data])
  assert.equal(unreachable, 3, stderr)
  assert.match(stderr, /fleetpulse start/)
  // What a kill -9 leaves behind.
  mkdirSync(join(data, 'pki'), { recursive: true })
  writeFileSync(join(data, 'pki', 'ca.pem'), '')
  writeFileSync(join(data, 'runtime.json'), JSON.stringify({ pid: 1, api: 'http://127.0.0.1:1', mqtts: 1, wss: 1, https: 1, pki: '', startedAt: 1 }))
  writeFileSync(join(data, 'admin-token'), 'x'.repeat(40))
  const { code, stdout } = await run(['provision', 'device', 'd', '--out', 'out', '--data', data, '--json'])
  assert.equal(code, 3)
  assert.equal((JSON.parse(stdout) as { error: { code: string } }).error.code, 'PLATFORM_UNREACHABLE')
  assert.ok(!existsSync(join(folder, 'out')))
})

test('provision answers in one line of JSON, and a wrong token is said', async () => {
  const out = join(folder, 'certs')
  const answer = JSON.parse(await platform.cli('provision', 'device', 'cli-1', '--out', out, '--json')) as { device: string; out: string }
  assert.deepEqual([answer.device, answer.out], ['cli-1', out])
  assert.deepEqual(readdirSync(out).toSorted(), ['ca.pem', 'cert.pem', 'key.pem'])
  const refused = await run(['provision', 'device', 'cli-2', '--out', join(folder, 'none'), '--data', platform.data], { FLEETPULSE_TOKEN: 'wrong' })
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /FLEETPULSE_TOKEN/)
  assert.ok(!refused.stderr.includes(platform.token))
})

test('a recording replayed twice is stored once', async () => {
  const out = join(folder, 'replayer')
  await platform.cli('provision', 'device', 'replayer', '--out', out)
  const file = join(folder, 'recording.csv')
  writeFileSync(file, `timestamp,value\r\n${Array.from({ length: 500 }, (_, i) => `${new Date(Date.UTC(2014, 0, 1) + i * 300_000).toISOString().slice(0, 19).replace('T', ' ')},${i}`).join('\r\n')}\r\n`)
  for (let time = 0; time < 2; time++) {
    const answer = JSON.parse(await platform.cli('replay', file, '--device', 'replayer', '--cert-dir', out, '--metric', 'cpu', '--json')) as { acked: number }
    assert.equal(answer.acked, 500)
  }
  const hours = await until('the ledger', async () => {
    const { items } = await platform.get<{ items: { received: number; stored: number; duplicate: number; missing: number }[] }>('/ledger?device=replayer')
    return items.reduce((sum, hour) => sum + hour.received, 0) === 1_000 && items
  })
  assert.equal(hours.reduce((sum, hour) => sum + hour.stored, 0), 500)
  assert.equal(hours.reduce((sum, hour) => sum + hour.duplicate, 0), 500)
  const { items } = await until('all stored', async () => {
    const page = await platform.get<{ items: { ts: number; values: { cpu: number } }[] }>('/readings?device=replayer&limit=1000')
    return page.items.length >= 500 && page
  })
  assert.deepEqual(items.map(({ values }) => values.cpu).reverse(), Array.from({ length: 500 }, (_, i) => i))
  assert.equal(items[0]?.ts, Date.UTC(2014, 0, 1) + 499 * 300_000)
})

test('simulate reports what became of every reading', async () => {
  const report = join(folder, 'report.json')
  const line = await platform.cli('simulate', '--devices', '4', '--rate', '200', '--duration', '2s', '--seed', '3', '--json', '--report', report)
  const answer = JSON.parse(line) as Record<string, number> & { publishToPubackMs: { p99: number }; publishToStoredMs: { count: number }; faults: unknown[] }
  assert.deepEqual(JSON.parse(readFileSync(report, 'utf8')), answer)
  const { sent = 0, acked, lost, duplicated, outOfOrder, rejected } = answer
  assert.deepEqual({ lost, duplicated, outOfOrder, rejected, acked }, { lost: 0, duplicated: 0, outOfOrder: 0, rejected: 0, acked: sent })
  assert.ok(sent > 100 && sent <= 500, String(sent))
  assert.ok(answer.publishToPubackMs.p99 > 0 && answer.publishToStoredMs.count > 0 && answer.faults.length > 0)
})

test('score is deterministic, keeps lines, columns and the text of timestamps', async () => {
  const input = join(folder, 'in', 'deep')
  mkdirSync(input, { recursive: true })
  const row = (i: number): string => `2014-01-01T${String(Math.floor(i / 60) % 24).padStart(2, '0')}:${String(i % 60).padStart(2, '0')}:00+02:00,${i === 700 ? 90 : 20 + Math.sin(i / 9)}`
  const crlf = ['timestamp,value', ...Array.from({ length: 800 }, (_, i) => row(i)), ''].join('\r\n')
  writeFileSync(join(input, 'crlf.csv'), crlf)
  writeFileSync(join(folder, 'in', 'two.csv'), `timestamp,a,b\n${Array.from({ length: 50 }, (_, i) => `${100 - i},${i},${-i}`).join('\n')}\n`)
  for (const answer of await Promise.all(['out1', 'out2'].map((out) => run(['score', '--in', join(folder, 'in'), '--out', join(folder, out), '--json'])))) {
    assert.equal(answer.code, 0, answer.stderr)
    assert.equal((JSON.parse(answer.stdout) as { files: number }).files, 2)
  }
  const read = (out: string, file: string): string => readFileSync(join(folder, out, file), 'utf8')
  for (const file of ['deep/crlf.csv', 'two.csv']) assert.equal(read('out1', file), read('out2', file), file)
  const lines = read('out1', 'deep/crlf.csv').split('\r\n')
  assert.equal(lines.length, 802)
  assert.equal(lines[0], 'timestamp,value,anomaly_score')
  assert.ok(!read('out1', 'deep/crlf.csv').replaceAll('\r\n', '').includes('\n'))
  const before = crlf.split('\r\n')
  for (let i = 1; i <= 800; i++) assert.ok(lines[i]?.startsWith(`${before[i]},`), lines[i])
  const scores = lines.slice(1, 801).map((line) => Number(line.split(',')[2]))
  assert.ok(scores.every((score) => score >= 0 && score <= 1))
  assert.equal(scores.indexOf(Math.max(...scores)), 700)
  assert.deepEqual(read('out1', 'two.csv').split('\n').slice(1, 51).map((line) => line.split(',')[0]), Array.from({ length: 50 }, (_, i) => String(100 - i)))
})

test('backtest sets detectors side by side over labelled files, and over what the platform stored of a device', async () => {
  interface Report {
    series: number
    detectors: { detector: string; readings: number; events: number; recall: { value: number } | null; against: object | null }[]
  }
  const dir = join(folder, 'past')
  mkdirSync(dir, { recursive: true })
  const rows = Array.from({ length: 800 }, (_, i) => `${1_400_000_000 + 60 * i},${i === 700 ? 90 : 20 + Math.sin(i / 9)}`)
  writeFileSync(join(dir, 'spike.csv'), `timestamp,value\n${rows.join('\n')}\n`)
  const labels = join(folder, 'labels.json')
  writeFileSync(labels, JSON.stringify({ 'spike.csv': [[String(1_400_000_000 + 60 * 690), String(1_400_000_000 + 60 * 710)]] }))
  const files = JSON.parse(await platform.cli('backtest', '--in', dir, '--labels', labels, '--detector', 'robust-online@1', '--detector', 'ensemble@1', '--json')) as Report
  assert.deepEqual(files.detectors.map(({ detector, readings, recall }) => [detector, readings, recall?.value]), [['robust-online@1', 800, 1], ['ensemble@1', 800, 1]])
  assert.deepEqual(files.detectors.map(({ against }) => against === null), [true, false])

  const { items } = await platform.get<{ items: { id: string }[] }>('/devices?state=active&limit=1')
  const stored = JSON.parse(await platform.cli('backtest', '--device', items[0]?.id ?? '', '--detector', 'ensemble', '--json')) as Report
  assert.ok(stored.series >= 1 && (stored.detectors[0]?.readings ?? 0) >= 1)
  assert.equal(stored.detectors[0]?.recall, null)
})

test('doctor finds a running platform healthy, and names what is not', async () => {
  interface Answer {
    healthy: boolean
    findings: { check: string; status: string; detail: string }[]
  }
  const healthy = JSON.parse(await platform.cli('doctor', '--json')) as Answer
  assert.deepEqual(healthy.findings.filter(({ status }) => status !== 'good').map(({ check }) => check), [])
  assert.equal(healthy.healthy, true)
  assert.ok(healthy.findings.some(({ check, detail }) => check === 'platform' && detail.includes('ready')))

  const taken = String(new URL(platform.api).port)
  const [unwell, plain] = await Promise.all([
    run(['doctor', '--json', '--data', MAIN], ANY_PORTS),
    run(['doctor', '--data', join(folder, 'nothing', 'here', 'yet')], { ...ANY_PORTS, FLEETPULSE_API_PORT: taken }),
  ])
  assert.equal(unwell.code, 1)
  const bad = (JSON.parse(unwell.stdout) as Answer).findings.filter(({ status }) => status === 'bad').map(({ check }) => check)
  assert.ok(bad.includes('data folder'), bad.join())
  assert.match(plain.stdout, /✓ data folder/)
  assert.match(plain.stdout, new RegExp(`✗ API and page +port ${taken}`))
  assert.ok(!existsSync(join(folder, 'nothing')), 'it only looks')
})

test('revoke takes a serial, or a CRL that lists several', async () => {
  const { cert } = await platform.provision('to-revoke')
  const serial = new X509Certificate(cert).serialNumber
  const env = { FLEETPULSE_DATA: platform.data }
  const one = await run(['revoke', serial.toLowerCase(), '--reason', 'keyCompromise', '--json'], env)
  assert.equal(one.code, 0, one.stderr)
  assert.equal((JSON.parse(one.stdout) as { reason: string }).reason, 'keyCompromise')
  const crl = join(folder, 'issuing.crl')
  writeFileSync(crl, Buffer.from(await (await fetch(`${platform.ready?.pki}/crl/issuing.crl`)).arrayBuffer()))
  const imported = await run(['revoke', '--crl', crl], env)
  assert.equal(imported.code, 0, imported.stderr)
  assert.match(imported.stdout, new RegExp(`${serial} already-revoked \\(keyCompromise\\) to-revoke`))
  assert.match(imported.stdout, /revoked 0, already revoked 1, not ours 0/)
  assert.equal((await run(['revoke'], env)).code, 2)
  assert.equal((await run(['revoke', '--crl', join(folder, 'nothing')], env)).code, 2)
})
