import { Command, Option } from 'commander'
import type { Device, DeviceState, DeviceTransition } from '../contracts/device.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { decommissionCommand, receiptCommand, transferCommand } from './device-leaving.ts'

interface DeviceOptions extends PlatformOptions {
  why?: string
  json?: boolean
}

const STATES: Readonly<Record<string, { to: DeviceState; says: string }>> = {
  suspend: { to: 'suspended', says: 'Disconnect a device at once; it can neither connect nor enrol until it is resumed' },
  quarantine: { to: 'quarantined', says: 'Let a device connect, and set its readings aside' },
  resume: { to: 'active', says: 'Take a suspended or quarantined device back to where it was' },
}

export function deviceCommand(): Command {
  const device = new Command('device').description('Where a device is in its life, and how it moves on or leaves')
  device.addCommand(
    platformCommand('show', 'The device, and the steps of its life')
      .addHelpText('after', '\nExample:\n  fleetpulse device show pump-1\n')
      .action(show),
  )
  for (const [name, { to, says }] of Object.entries(STATES)) {
    device.addCommand(
      platformCommand(name, says)
        .option('--why <text>', 'for the record')
        .addHelpText('after', `\nExample:\n  fleetpulse device ${name} pump-1 --why 'reported stolen'\n`)
        .action((id: string, options: DeviceOptions) => move(id, to, options)),
    )
  }
  return device
    .addCommand(decommissionCommand(platformCommand))
    .addCommand(transferCommand(platformCommand))
    .addCommand(receiptCommand(platformCommand))
}

/** A command about one device of the running platform. */
function platformCommand(name: string, says: string): Command {
  return new Command(name)
    .description(says)
    .argument('<id>', 'device id')
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .addOption(new Option('--json', 'answer one line of JSON'))
}

async function show(id: string, options: DeviceOptions): Promise<void> {
  const api = ApiClient.find(options)
  try {
    const path = `/devices/${encodeURIComponent(id)}`
    const device = await api.get<Device>(path)
    const { items } = await api.get<{ items: DeviceTransition[] }>(`${path}/history`)
    if (options.json === true) process.stdout.write(`${JSON.stringify({ ...device, history: items })}\n`)
    else process.stdout.write(`${device.id}: ${device.state}, type ${device.type}\n${items.map(lineOf).join('')}`)
  } finally {
    await api.close()
  }
}

async function move(id: string, state: DeviceState, options: DeviceOptions): Promise<void> {
  const api = ApiClient.find(options)
  try {
    const body = { state, ...(options.why === undefined ? {} : { why: options.why }) }
    const device = await api.post<Device>(`/devices/${encodeURIComponent(id)}/state`, body)
    process.stdout.write(options.json === true ? `${JSON.stringify(device)}\n` : `${device.id}: ${device.state}\n`)
  } finally {
    await api.close()
  }
}

function lineOf({ at, from, to, by, why, origin }: DeviceTransition): string {
  const where = origin === undefined ? '' : ` from ${origin}`
  return `  ${new Date(at).toISOString()}  ${from ?? 'unknown'} → ${to}  ${by}${where}${why === null ? '' : `: ${why}`}\n`
}
