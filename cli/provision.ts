import { X509Certificate } from 'node:crypto'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { GENERIC_TYPE } from '../contracts/device.ts'
import { writeDeviceBundle } from '../provisioning/doors/device-bundle.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { enrolOverEst, estAddress } from './enrol.ts'
import { csrCommand, registerCommand, tokenCommand } from './provision-steps.ts'
import { claimCommand } from './provision-claim.ts'
import { factoryCaCommand, factoryCodeCommand } from './provision-factory.ts'

interface ProvisionOptions extends PlatformOptions {
  type: string
  out: string
  est?: string
  ca?: string
  json?: boolean
}

export function provisionCommand(): Command {
  const device = new Command('device')
    .description('Register a device and get it a certificate: writes key.pem, cert.pem and ca.pem')
    .argument('<id>', 'device id: letters, digits, . _ - (1 to 64)')
    .option('--type <type>', 'device type', GENERIC_TYPE)
    .requiredOption('--out <dir>', 'folder for key.pem, cert.pem and ca.pem')
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--est <url>', 'origin of the EST server, when the platform is on another machine')
    .option('--ca <file>', 'trust for --est')
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse provision device pump-1 --type generic --out ./certs/pump-1\n')
    .action(provisionDevice)
  return new Command('provision')
    .description('Give devices their certificates')
    .addCommand(device)
    .addCommand(claimCommand())
    .addCommand(factoryCodeCommand())
    .addCommand(factoryCaCommand())
    .addCommand(registerCommand())
    .addCommand(tokenCommand())
    .addCommand(csrCommand())
}

async function provisionDevice(id: string, options: ProvisionOptions): Promise<void> {
  const api = ApiClient.find(options)
  try {
    const bundle = await enrolOverEst(api, estAddress(api, options), id, options.type)
    await writeDeviceBundle(options.out, bundle)
    const certificate = new X509Certificate(bundle.certPem)
    const out = resolve(options.out)
    if (options.json === true) {
      process.stdout.write(
        `${JSON.stringify({ device: id, type: options.type, out, serial: certificate.serialNumber, notAfter: certificate.validTo })}\n`,
      )
      return
    }
    const port = api.runtime?.mqtts ?? 8883
    process.stdout.write(`${id}: certificate ${certificate.serialNumber}, valid until ${certificate.validTo}, in ${out}\nTry it:\n`)
    process.stdout.write(
      `  mosquitto_pub -h localhost -p ${port} --cafile ${out}/ca.pem --cert ${out}/cert.pem --key ${out}/key.pem \\\n` +
        `    -i ${id} -q 1 -t devices/${id}/telemetry -m '{"values":{"temperature":21.5}}'\n`,
    )
  } finally {
    await api.close()
  }
}
