import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, resolve } from 'node:path'
import { Command } from 'commander'
import { request } from 'undici'
import { CONFIG_FILE, loadConfig } from '../app/config.ts'
import { readRuntimeInfo, type RuntimeInfo } from '../app/data-folder.ts'
import type { Config } from '../app/config-sections.ts'
import { ConfigError, describeError } from '../kernel/errors.ts'
import { EXIT } from './failure.ts'

interface Finding {
  check: string
  status: 'good' | 'bad'
  detail: string
}

/** Node's oldest version that the project is tested on. */
const NODE_MIN = [20, 19, 4] as const
/** Less than this and a day of readings may not fit. */
const FREE_BYTES_MIN = 1024 ** 3
/** A platform that does not answer in this time does not work. */
const ANSWER_TIMEOUT_MS = 5_000

export function doctorCommand(): Command {
  return new Command('doctor')
    .description('Check this machine, the configuration, the data folder and the running platform')
    .option('--data <dir>', 'data folder (default: FLEETPULSE_DATA or ./data)')
    .option('--config <file>', 'configuration file')
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExit code 1 when something is bad.\nExample:\n  fleetpulse doctor --data ./data\n')
    .action(doctor)
}

async function doctor(options: { data?: string; config?: string; json?: boolean }): Promise<void> {
  const findings = [checkNode(), await checkNative()]
  const config = checkConfig(options, findings)
  if (config !== undefined) {
    findings.push(checkFolder(config.platform.dataDirectory))
    const runtime = findPlatform(config.platform.dataDirectory, findings)
    if (runtime === null) findings.push(...(await checkPorts(config)))
    else if (runtime?.api !== undefined) findings.push(await checkPlatform(runtime.api))
  }
  const bad = findings.filter((finding) => finding.status === 'bad').length
  if (options.json === true) process.stdout.write(`${JSON.stringify({ healthy: bad === 0, findings })}\n`)
  else for (const { status, check, detail } of findings) process.stdout.write(`${status === 'good' ? '✓' : '✗'} ${check.padEnd(16)} ${detail}\n`)
  if (bad > 0) process.exitCode = EXIT.failed
}

function checkNode(): Finding {
  const version = process.versions.node.split('.').map(Number)
  const old = NODE_MIN.findIndex((part, at) => (version[at] ?? 0) !== part)
  const good = old === -1 || (version[old] ?? 0) > (NODE_MIN[old] ?? 0)
  return { check: 'Node.js', status: good ? 'good' : 'bad', detail: `${process.versions.node} (${NODE_MIN.join('.')} or newer is needed)` }
}

/** The stores' native parts come inside npm packages; a platform without one fails here. */
async function checkNative(): Promise<Finding> {
  try {
    await import('lmdb')
    await import('@duckdb/node-api')
    return { check: 'native modules', status: 'good', detail: `LMDB and DuckDB load on ${process.platform}-${process.arch}` }
  } catch (error) {
    return { check: 'native modules', status: 'bad', detail: `cannot be loaded: ${describeError(error)}; run npm ci again on this machine` }
  }
}

function checkConfig(options: { data?: string; config?: string }, findings: Finding[]): Config | undefined {
  const env = options.data === undefined ? process.env : { ...process.env, FLEETPULSE_DATA: options.data }
  try {
    const config = loadConfig({ env, file: options.config ?? CONFIG_FILE, fileRequired: options.config !== undefined })
    findings.push({ check: 'configuration', status: 'good', detail: 'valid' })
    return config
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const { key, problem, allowed } of error.faults) findings.push({ check: 'configuration', status: 'bad', detail: `${key}: ${problem}; allowed: ${allowed}` })
    return undefined
  }
}

function checkFolder(folder: string): Finding {
  const path = resolve(folder)
  let existing = path
  while (!existsSync(existing)) existing = dirname(existing)
  if (!statSync(existing).isDirectory()) return { check: 'data folder', status: 'bad', detail: `${existing} is not a folder` }
  try {
    accessSync(existing, constants.W_OK)
  } catch (error) {
    return { check: 'data folder', status: 'bad', detail: `${path} cannot be written: ${describeError(error)}` }
  }
  const { bavail, bsize } = statfsSync(existing)
  const freeBytes = bavail * bsize
  return { check: 'data folder', status: freeBytes < FREE_BYTES_MIN ? 'bad' : 'good', detail: `${path}, ${(freeBytes / 1024 ** 3).toFixed(1)} GiB free` }
}

/** Undefined when what the folder says cannot be read. */
function findPlatform(folder: string, findings: Finding[]): RuntimeInfo | null | undefined {
  try {
    return readRuntimeInfo(folder)
  } catch (error) {
    findings.push({ check: 'platform', status: 'bad', detail: describeError(error) })
    return undefined
  }
}

async function checkPorts(config: Config): Promise<Finding[]> {
  const { broker, provisioning, api } = config
  const ports = { 'MQTT over TLS': broker.mqttsPort, 'MQTT over WSS': broker.wssPort, 'device HTTPS': provisioning.httpsPort, 'CRL over HTTP': provisioning.pkiHttpPort, 'API and page': api.port }
  return Promise.all(Object.entries(ports).map(async ([name, port]) => ({ check: name, ...(await checkPort(port)) })))
}

function checkPort(port: number): Promise<Omit<Finding, 'check'>> {
  return new Promise((done) => {
    const server = createServer()
    server.once('error', (error) => done({ status: 'bad', detail: `port ${port}: ${describeError(error)}` }))
    server.listen(port, () => server.close(() => done({ status: 'good', detail: port === 0 ? 'any free port' : `port ${port} is free` })))
  })
}

async function checkPlatform(api: string): Promise<Finding> {
  try {
    const { statusCode, body } = await request(`${api}/readyz`, { headersTimeout: ANSWER_TIMEOUT_MS, bodyTimeout: ANSWER_TIMEOUT_MS, reset: true })
    const text = await body.text()
    return { check: 'platform', status: statusCode === 200 ? 'good' : 'bad', detail: `${api} answers ${text}` }
  } catch (error) {
    return { check: 'platform', status: 'bad', detail: `${api} does not answer (it was killed, or is stopping): ${describeError(error)}` }
  }
}
