import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { describeError, InvalidInputError } from '../kernel/errors.ts'
import { systemClock } from '../kernel/time.ts'
import { signProof } from '../provisioning/trust/sign-proof.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { collectLabel } from './provision-claim.ts'

interface FactoryOptions extends PlatformOptions {
  cert: string
  chain?: string
  key?: string
  code?: string
  proof?: string
  type: string
  attribute: string
  subjectPattern: string
  deviceId: string
  label: Record<string, string>
  json?: boolean
}

export function factoryCodeCommand(): Command {
  return new Command('factory-code')
    .description('A registration code for a factory CA to sign, where its key is not on this machine')
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse provision factory-code --json\n')
    .action(showCode)
}

export function factoryCaCommand(): Command {
  return new Command('factory-ca')
    .description('Register a factory CA: devices with its certificates come in at their first connection')
    .argument('<id>', 'name of the factory CA')
    .requiredOption('--cert <file>', 'PEM of the CA that signs device certificates')
    .option('--chain <file>', 'PEM of the CAs above it, where it is not self-signed')
    .option('--key <file>', 'its private key, to prove possession here; it is not sent anywhere')
    .option('--code <code>', 'the code of `provision factory-code`, with --proof')
    .option('--proof <file>', 'PEM of a certificate with that code as its common name, signed by the CA')
    .requiredOption('--type <type>', 'device type of what comes in')
    .option('--attribute <name>', 'subject attribute that names the device: CN or serialNumber', 'CN')
    .option('--subject-pattern <text>', 'what it looks like, with {id} for what names the device', '{id}')
    .option('--device-id <text>', 'the device id made of it', '{id}')
    .option('--label <name=value>', 'label; {id} {CN} {O} … stand for what the certificate says; may be repeated', collectLabel, {})
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse provision factory-ca plant-1 --cert plant-1.pem --key plant-1.key\n')
    .action(registerFactory)
}

async function showCode(options: PlatformOptions & { json?: boolean }): Promise<void> {
  const api = ApiClient.find(options)
  try {
    const { code, expiresAt } = await api.post<{ code: string; expiresAt: number }>('/factory-authorities/codes', {})
    if (options.json === true) {
      process.stdout.write(`${JSON.stringify({ code, expiresAt })}\n`)
      return
    }
    process.stdout.write(
      `${code}\nwhere the CA's key is:\n  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout proof.key -subj /CN=${code} -out proof.csr\n` +
        '  openssl x509 -req -in proof.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -out proof.pem\n' +
        `then: fleetpulse provision factory-ca ID --cert ca.pem --code ${code} --proof proof.pem --type TYPE\n`,
    )
  } finally {
    await api.close()
  }
}

async function registerFactory(id: string, options: FactoryOptions): Promise<void> {
  const api = ApiClient.find(options)
  try {
    const certificate = readText(options.cert, '--cert')
    const { code, proof } = await proofOf(api, certificate, options)
    const { attribute, subjectPattern, deviceId, label: labels, type } = options
    const registered = await api.post<{ id: string; subject: string }>('/factory-authorities', {
      ...{ id, certificate, code, proof, template: { type, attribute, subjectPattern, deviceId, labels } },
      ...(options.chain === undefined ? {} : { chain: readText(options.chain, '--chain') }),
    })
    process.stdout.write(options.json === true ? `${JSON.stringify(registered)}\n` : `factory CA ${id} registered: ${registered.subject}\n`)
  } finally {
    await api.close()
  }
}

async function proofOf(api: ApiClient, certificate: string, options: FactoryOptions): Promise<{ code: string; proof: string }> {
  if (options.code !== undefined && options.proof !== undefined) return { code: options.code, proof: readText(options.proof, '--proof') }
  if (options.key === undefined) {
    throw new InvalidInputError('the possession of the CA key must be proved: --key FILE, or --code CODE and --proof FILE', {
      remedy: 'Ask for a code with `fleetpulse provision factory-code`.',
    })
  }
  const keyPem = readText(options.key, '--key')
  checkPair(certificate, keyPem)
  const { code } = await api.post<{ code: string }>('/factory-authorities/codes', {})
  return { code, proof: await signProof({ code, caPem: certificate, caKeyPem: keyPem, nowMs: systemClock.nowMs() }) }
}

function checkPair(certificate: string, keyPem: string): void {
  let fits: boolean
  try {
    fits = new X509Certificate(certificate).publicKey.equals(createPublicKey(createPrivateKey(keyPem)))
  } catch (error) {
    throw new InvalidInputError(`the CA or its key cannot be read: ${describeError(error)}`, { cause: error })
  }
  if (!fits) throw new InvalidInputError('--key: is not the key of the CA in --cert')
}

function readText(path: string, option: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new InvalidInputError(`${option}: ${path} cannot be read`, { cause: error })
  }
}
