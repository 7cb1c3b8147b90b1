import { writeFile } from 'node:fs/promises'
import { Option, type Command } from 'commander'
import type { JobView } from '../device-registry/decommission/job.ts'
import { sleep, systemClock } from '../kernel/time.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { duration } from './options.ts'

type MakeCommand = (name: string, says: string) => Command

interface LeaveOptions extends PlatformOptions {
  readings?: string
  wipe: boolean
  wipeTimeout?: number
  why?: string
  wait?: boolean
  receipt?: string
  json?: boolean
}

interface TransferOptions extends LeaveOptions {
  to: string
  as?: string
  from?: string
  history: string
}

/** How often a job is asked for, in ms. */
const LOOK_MS = 250

export function decommissionCommand(make: MakeCommand): Command {
  return waiting(
    make('decommission', 'Take a device out of service for good: wipe command, certificates, sessions, readings; its id never comes back')
      .addOption(new Option('--readings <rule>', 'what becomes of its readings (default: as configured)').choices(['keep', 'erase']))
      .option('--no-wipe', 'do not tell the device to wipe itself'),
  )
    .addHelpText(
      'after',
      "\nExample:\n  fleetpulse device decommission pump-1 --readings erase --why 'end of life' --wait --receipt pump-1.jws\n",
    )
    .action(async (id: string, options: LeaveOptions) => {
      const { readings } = options
      const asked = { ...commonOf(options), ...(readings === undefined ? {} : { readings }), ...(options.wipe ? {} : { wipe: false }) }
      await leave(id, 'decommission', asked, options)
    })
}

export function transferCommand(make: MakeCommand): Command {
  return waiting(
    make('transfer', 'Hand a device over to another tenant, where it enrols anew')
      .requiredOption('--to <tenant>', 'the other tenant')
      .option('--as <id>', 'its id there (default: the one it has)')
      .option('--from <tenant>', 'its tenant now (default: your own)')
      .addOption(
        new Option('--history <rule>', 'whether its readings stay here, move along or are erased')
          .choices(['keep', 'move', 'erase'])
          .makeOptionMandatory(),
      ),
  )
    .addHelpText('after', '\nExample:\n  fleetpulse device transfer pump-1 --to acme --history move --wait\n')
    .action(async (id: string, options: TransferOptions) => {
      const { to, as, from, history } = options
      const asked = { ...commonOf(options), to, history, ...(as === undefined ? {} : { as }), ...(from === undefined ? {} : { from }) }
      await leave(id, 'transfer', asked, options, from)
    })
}

export function receiptCommand(make: MakeCommand): Command {
  return make('receipt', 'The signed receipt of a device that left, a JWS')
    .addHelpText('after', '\nExample:\n  fleetpulse device receipt pump-1 > pump-1.jws\n')
    .action(async (id: string, options: PlatformOptions & { json?: boolean }) => {
      const api = ApiClient.find(options)
      try {
        const receipt = await api.get<{ jws: string; statement: object }>(`/devices/${encodeURIComponent(id)}/receipt`)
        process.stdout.write(options.json === true ? `${JSON.stringify(receipt)}\n` : `${receipt.jws}\n`)
      } finally {
        await api.close()
      }
    })
}

function waiting(command: Command): Command {
  return command
    .option('--wipe-timeout <time>', 'how long the answer to the wipe command is waited for, such as 30s or 7d', duration)
    .option('--why <text>', 'for the record')
    .option('--wait', 'wait until it is done, and show each step')
    .option('--receipt <file>', 'write the signed receipt there (waits until it is done)')
}

function commonOf({ wipeTimeout, why }: LeaveOptions): object {
  return { ...(wipeTimeout === undefined ? {} : { wipeTimeoutMs: wipeTimeout }), ...(why === undefined ? {} : { why }) }
}

async function leave(id: string, how: string, asked: object, options: LeaveOptions, tenant?: string): Promise<void> {
  const api = ApiClient.find(options)
  const path = `/devices/${encodeURIComponent(id)}`
  const query = tenant === undefined ? '' : `?tenant=${encodeURIComponent(tenant)}`
  try {
    let job = await api.post<JobView>(`${path}/${how}`, asked)
    const waits = options.wait === true || options.receipt !== undefined
    let shown = 0
    while (waits && job.state === 'running') {
      await sleep(systemClock, LOOK_MS)
      job = await api.get<JobView>(`${path}/decommission${query}`)
      if (options.json !== true) shown = showSteps(job, shown)
    }
    if (options.receipt !== undefined) {
      const { jws } = await api.get<{ jws: string }>(`${path}/receipt${query}`)
      await writeFile(options.receipt, `${jws}\n`)
    }
    if (options.json === true) process.stdout.write(`${JSON.stringify(job)}\n`)
    else process.stdout.write(job.state === 'done' ? `${id} is out\n` : `${id} is on its way out (${job.step})\n`)
  } finally {
    await api.close()
  }
}

function showSteps({ steps }: JobView, shown: number): number {
  for (const { name, result } of steps.slice(shown)) {
    const said = Object.entries(result).filter(([, value]) => typeof value !== 'object')
    process.stdout.write(`  ${name}: ${said.map(([key, value]) => `${key} ${String(value)}`).join(', ') || 'done'}\n`)
  }
  return steps.length
}
