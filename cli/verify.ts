import { Command } from 'commander'
import { systemClock } from '../kernel/time.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { EXIT } from './failure.ts'
import type { Fault } from './ledger-check.ts'
import { instant } from './options.ts'
import { progressBar } from './progress.ts'
import { verifyAuditCommand } from './verify-audit.ts'
import { verifyReceiptCommand } from './verify-receipt.ts'
import { verifyLedger, type LedgerReport } from './verify-ledger.ts'

interface VerifyLedgerOptions extends PlatformOptions {
  device?: string
  from?: number
  to?: number
  json?: boolean
}

const HOUR_MS = 3_600_000
const FAULTS_PRINTED = 50

export function verifyCommand(): Command {
  const ledger = new Command('ledger')
    .description('Recount the ledger from the stored readings: is everything that was acknowledged accounted for?')
    .option('--device <id>', 'only this device')
    .option('--from <time>', 'only the hour of receipt in which this instant lies, and later ones; epoch ms or RFC 3339', instant)
    .option('--to <time>', 'only hours of receipt that begin before this instant', instant)
    .option('--data <dir>', 'data folder of the platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', 'origin of the API, instead of looking into the data folder')
    .option('--json', 'answer one line of JSON')
    .addHelpText(
      'after',
      '\nReads through the API and changes nothing. Readings that the series store has removed by age are not lost: leave their hours out with --from.' +
        '\nExit code 1 when something acknowledged is not accounted for, or the ledger and the store disagree.' +
        '\nExample:\n  fleetpulse verify ledger --device pump-1 --from 2026-01-31T00:00:00Z\n',
    )
    .action(run)
  return new Command('verify')
    .description('Check what the platform says against what it holds')
    .addCommand(ledger)
    .addCommand(verifyAuditCommand())
    .addCommand(verifyReceiptCommand())
}

async function run(options: VerifyLedgerOptions): Promise<void> {
  const api = ApiClient.find(options)
  const bar = progressBar(options.json !== true)
  try {
    if (options.device !== undefined) await api.get(`/devices/${encodeURIComponent(options.device)}`)
    const { stored } = await api.get<{ stored: number }>('/ledger?summary=true')
    let read = 0
    const report = await verifyLedger({
      api,
      clock: systemClock,
      ...(options.device === undefined ? {} : { device: options.device }),
      range: { from: Math.floor((options.from ?? 0) / HOUR_MS) * HOUR_MS, to: options.to ?? Infinity },
      onProgress: (device, rows) => bar.update(device, (read += rows), Math.max(stored, read)),
    })
    bar.stop()
    process.stdout.write(options.json === true ? `${JSON.stringify({ agrees: report.faultsTotal === 0, ...report })}\n` : textOf(report))
    if (report.faultsTotal > 0) process.exitCode = EXIT.failed
  } finally {
    bar.stop()
    await api.close()
  }
}

function textOf(report: LedgerReport): string {
  const { devices, acked, stored, rejected, duplicate, missing, faults, faultsTotal } = report
  const sums = `${devices} devices: ${acked} acknowledged, ${stored} stored, ${rejected} rejected, ${duplicate} duplicate; ${missing} never received\n`
  if (faultsTotal === 0) return `${sums}Everything acknowledged is accounted for.\n`
  const rows = faults.slice(0, FAULTS_PRINTED).map(rowOf)
  const widths = [0, 1, 2].map((column) => Math.max(...[HEAD, ...rows].map((row) => (row[column] ?? '').length)))
  const lines = [HEAD, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  const rest = faultsTotal > rows.length ? `… and ${faultsTotal - rows.length} more\n` : ''
  return `${sums}The ledger and the store disagree:\n${lines.join('\n')}\n${rest}`
}

const HEAD = ['device', 'where', 'readings', 'what']

const WHAT: Readonly<Record<Fault['fault'], string>> = {
  unaccounted: 'acknowledged, and neither stored nor rejected nor a duplicate',
  surplus: 'stored, and not in the ledger',
  'stored-twice': 'stored twice',
  lost: 'received, and not in the store',
  'not-missing': 'called missing, and in the store',
}

function rowOf({ device, fault, count, hour, boot, from, to }: Fault): string[] {
  const numbers = from === to ? `seq ${from}` : `seq ${from} to ${to}`
  const where =
    hour === undefined ? `${boot === undefined || boot === '' ? '' : `boot ${boot} `}${numbers}` : new Date(hour).toISOString().slice(0, 16)
  return [device, where, String(count), WHAT[fault]]
}
