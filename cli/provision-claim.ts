import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { InvalidInputError } from '../kernel/errors.ts'
import { writeFileAtomically } from '../kernel/files.ts'
import { newDeviceRequest } from '../provisioning/doors/device-bundle.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'

interface ClaimOptions extends PlatformOptions {
  out: string
  devicesMax: string
  devices: string
  type?: string
  days?: string
  label: Record<string, string>
  json?: boolean
}

const DAY_MS = 86_400_000

/** `name=value`, repeated. */
export function collectLabel(text: string, labels: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidInputError(`--label ${text}: is not name=value`)
  return { ...labels, [text.slice(0, at)]: text.slice(at + 1) }
}

export function claimCommand(): Command {
  return new Command('claim')
    .description('Make a claim certificate for a production batch: its holder asks on MQTT for certificates of so many devices')
    .argument('<id>', 'name of the claim')
    .requiredOption('--out <dir>', 'folder for key.pem, cert.pem and ca.pem')
    .requiredOption('--devices-max <n>', 'how many devices it may let in')
    .option('--devices <pattern>', 'what device ids must look like; * stands for anything', '*')
    .option('--type <type>', 'type of the devices')
    .option('--days <n>', 'how long it is good, at most enrolment.claimLifetimeMs')
    .option('--label <name=value>', 'label of the devices; may be repeated', collectLabel, {})
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse provision claim batch-7 --out ./claims/batch-7 --devices-max 200\n')
    .action(makeClaim)
}

async function makeClaim(id: string, options: ClaimOptions): Promise<void> {
  const api = ApiClient.find(options)
  try {
    // The key is made here and stays here; the request's name decides nothing.
    const { keyPem, csrPem } = await newDeviceRequest(id)
    const { claim, certificate, ca } = await api.post<{
      claim: { expiresAt: number; devicesMax: number }
      certificate: string
      ca: string
    }>('/claims', {
      ...{ id, csr: csrPem, devicesMax: Number(options.devicesMax), devices: options.devices, labels: options.label },
      ...(options.type === undefined ? {} : { type: options.type }),
      ...(options.days === undefined ? {} : { lifetimeMs: Math.round(Number(options.days) * DAY_MS) }),
    })
    const out = resolve(options.out)
    await mkdir(out, { recursive: true, mode: 0o700 })
    await writeFileAtomically(join(out, 'key.pem'), keyPem, 0o600)
    await writeFileAtomically(join(out, 'cert.pem'), certificate, 0o644)
    await writeFileAtomically(join(out, 'ca.pem'), ca, 0o644)
    if (options.json === true) {
      process.stdout.write(`${JSON.stringify({ claim: id, out, expiresAt: claim.expiresAt, devicesMax: claim.devicesMax })}\n`)
      return
    }
    const until = new Date(claim.expiresAt).toISOString()
    process.stdout.write(
      `claim ${id}: ${claim.devicesMax} devices until ${until}, in ${out}\nA device asks with it on provisioning/{any}/request: {"device","csr"}\n`,
    )
  } finally {
    await api.close()
  }
}
