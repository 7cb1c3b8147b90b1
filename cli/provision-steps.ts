import { readFile } from 'node:fs/promises'
import { Command, InvalidArgumentError } from 'commander'
import { GENERIC_TYPE } from '../contracts/device.ts'
import { InvalidInputError } from '../kernel/errors.ts'
import { writeFileAtomically } from '../kernel/files.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'

/* The steps that `provision device` takes at once, one by one: for devices that keep their key to themselves. */

interface StepOptions extends PlatformOptions {
  type?: string
  label?: Record<string, string>
  device?: string
  out?: string
  json?: boolean
}

export function registerCommand(): Command {
  return step('register', 'Register a device; it has no certificate yet')
    .argument('<id>', 'device id: letters, digits, . _ - (1 to 64)')
    .option('--type <type>', 'device type', GENERIC_TYPE)
    .option('--label <name=value>', 'a label; may be given several times', addLabel)
    .addHelpText('after', '\nExample:\n  fleetpulse provision register pump-1 --type pump --label site=north\n')
    .action((id: string, options: StepOptions) =>
      answered(options, async (api) => {
        const { type = GENERIC_TYPE, label = {} } = options
        const device = await api.post<{ id: string; type: string; state: string }>('/devices', { id, type, labels: label })
        return { answer: device, text: `${device.id}: ${device.state}, type ${device.type}\n` }
      }),
    )
}

export function tokenCommand(): Command {
  return step('token', 'A one-time token with which a device enrols over EST; registers an unknown device')
    .argument('<id>', 'device id')
    .option('--type <type>', 'device type (default: the one it has, or generic)')
    .addHelpText('after', '\nExample:\n  fleetpulse provision token pump-1\n')
    .action((id: string, options: StepOptions) =>
      answered(options, async (api) => {
        const body = { deviceId: id, ...(options.type === undefined ? {} : { type: options.type }) }
        const made = await api.post<{ token: string; deviceId: string; expiresAt: number }>('/enrolment-tokens', body)
        return { answer: made, text: `${made.token}\n` }
      }),
    )
}

export function csrCommand(): Command {
  return step('csr', 'A certificate for a certification request (PEM, base64 or DER) that the device made')
    .argument('<file>', 'the request')
    .requiredOption('--device <id>', 'the registered device that it is for')
    .option('--out <file>', 'where to write the certificate and its issuer, PEM (default: standard output)')
    .addHelpText('after', '\nExample:\n  fleetpulse provision csr pump-1.csr --device pump-1 --out pump-1.pem\n')
    .action((file: string, options: StepOptions) =>
      answered(options, async (api) => {
        const device = options.device ?? ''
        const path = `/devices/${encodeURIComponent(device)}/certificates`
        const issued = await api.post<{ serial: string; notAfter: number; certificate: string; ca: string }>(path, {
          csr: await readCsr(file),
        })
        if (options.out === undefined) return { answer: issued, text: issued.certificate }
        await writeFileAtomically(options.out, issued.certificate, 0o644)
        const until = new Date(issued.notAfter).toISOString()
        return { answer: issued, text: `${device}: certificate ${issued.serial}, valid until ${until}, in ${options.out}\n` }
      }),
    )
}

function step(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
}

function addLabel(text: string, labels: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at < 1) throw new InvalidArgumentError('it must be NAME=VALUE.')
  return { ...labels, [text.slice(0, at)]: text.slice(at + 1) }
}

async function answered(options: StepOptions, run: (api: ApiClient) => Promise<{ answer: object; text: string }>): Promise<void> {
  const api = ApiClient.find(options)
  try {
    const { answer, text } = await run(api)
    process.stdout.write(options.json === true ? `${JSON.stringify(answer)}\n` : text)
  } finally {
    await api.close()
  }
}

/** As text: PEM and base64 as they are, DER as base64. */
async function readCsr(file: string): Promise<string> {
  try {
    const bytes = await readFile(file)
    return bytes[0] === DER_SEQUENCE && !bytes.subarray(0, TEXT_LOOKED_AT).every((byte) => byte < 0x80)
      ? bytes.toString('base64')
      : bytes.toString('utf8')
  } catch (cause) {
    throw new InvalidInputError(`${file} cannot be read`, { cause })
  }
}

const DER_SEQUENCE = 0x30
/** A request's length, in its first bytes, is over 127: no text begins so. */
const TEXT_LOOKED_AT = 4
