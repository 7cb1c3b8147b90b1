import { readFileSync, writeFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import { CRL_REASONS } from '../contracts/certificate.ts'
import { describeError, InvalidInputError } from '../kernel/errors.ts'
import type { AuthorityOutcome } from '../provisioning/ca/authority-orders.ts'
import type { AuthorityFacts, AuthorityRequest, AuthorityState } from '../provisioning/ca/authority-view.ts'
import { ApiClient, type PlatformOptions } from './api-client.ts'
import { caPassphraseCommand } from './ca-passphrase.ts'

interface CaOptions extends PlatformOptions {
  json?: boolean
}
type Authority = AuthorityFacts & { state: AuthorityState; validCertificates?: number }
interface Listing {
  items: Authority[]
  requests: AuthorityRequest[]
}

const PATH = '/certificates/authorities'

const HELP = `
Examples:
  A new issuing CA by our own root, and the end of the old one when nobody needs it:
    fleetpulse ca roll
    fleetpulse ca status
    fleetpulse ca retire issuing
  An issuing CA that a root elsewhere signs:
    fleetpulse ca request --out issuing.csr
    openssl x509 -req -in issuing.csr -CA root.crt -CAkey root.key -days 1800 -sha256 -extfile issuing.ext -out issuing.crt
    cat issuing.crt root.crt > chain.pem && fleetpulse ca import chain.pem
    fleetpulse ca root-crl root.crl
  where issuing.ext says
    basicConstraints=critical,CA:true,pathlen:0
    keyUsage=critical,keyCertSign,cRLSign
    subjectKeyIdentifier=hash
    authorityKeyIdentifier=keyid:always
  Our own root offline: copy pki/root.key to a safe place, remove it from the data folder, and start again.
`

export function caCommand(): Command {
  const command = new Command('ca').description('The certificate authorities of the running platform').addHelpText('after', HELP)
  command.addCommand(
    withCommon(new Command('status').description('Roots and issuing CAs, and which of them signs'))
      .addHelpText('after', '\nExample:\n  fleetpulse ca status\n')
      .action(status),
  )
  command.addCommand(
    withCommon(new Command('roll').description('A new issuing CA by our own root; the old one stays accepted'))
      .addHelpText('after', '\nExample:\n  fleetpulse ca roll --json\n')
      .action((options: CaOptions) => change(options, 'roll', {}, ({ id, issuesFrom }) => begins(id, issuesFrom))),
  )
  command.addCommand(
    withCommon(new Command('request').description('A new CA key here, and a request (PKCS#10) to have it signed by a root elsewhere'))
      .option('--out <file>', 'write the request there instead of to stdout')
      .addHelpText('after', '\nExample:\n  fleetpulse ca request --out issuing.csr\n')
      .action(request),
  )
  command.addCommand(
    withCommon(new Command('import').description('The certificate for such a request'))
      .argument('<file>', 'PEM: the certificate and those above it, up to a root')
      .addHelpText('after', '\nExample:\n  fleetpulse ca import chain.pem\n')
      .action((file: string, options: CaOptions) =>
        change(options, 'import', { pem: read(file) }, ({ id, issuesFrom }) => begins(id, issuesFrom)),
      ),
  )
  command.addCommand(
    withCommon(new Command('root-crl').description('The CRL of a root whose key is elsewhere'))
      .argument('<file>', 'CRL in PEM')
      .addHelpText('after', '\nExample:\n  fleetpulse ca root-crl root.crl\n')
      .action((file: string, options: CaOptions) =>
        change(options, 'root-crl', { crl: read(file) }, ({ id }) => `CRL of ${id} taken over`),
      ),
  )
  command.addCommand(
    withCommon(new Command('retire').description('Nothing that an issuing CA signed is accepted from now on'))
      .argument('<id>', 'issuing, issuing-2, … as ca status names them')
      .addOption(new Option('--reason <reason>', 'a CRLReason name').choices(Object.keys(CRL_REASONS)).default('superseded'))
      .option('--force', 'revoke its certificates that are still valid, which ends their sessions', false)
      .addHelpText('after', '\nExamples:\n  fleetpulse ca retire issuing\n  fleetpulse ca retire issuing --force --reason cACompromise\n')
      .action((id: string, options: CaOptions & { reason: string; force: boolean }) =>
        change(
          options,
          `${encodeURIComponent(id)}/retire`,
          { reason: options.reason, force: options.force },
          ({ revoked = 0 }) => `${id} retired${revoked > 0 ? `; ${revoked} certificates revoked` : ''}`,
        ),
      ),
  )
  command.addCommand(caPassphraseCommand())
  return command
}

function withCommon(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the running platform (default: FLEETPULSE_DATA or ./data)')
    .option('--api <url>', "origin of the platform's API")
    .option('--json', 'answer one line of JSON')
}

async function status(options: CaOptions): Promise<void> {
  await withApi(options, async (api) => {
    const listing = await api.get<Listing>(PATH)
    process.stdout.write(options.json === true ? `${JSON.stringify(listing)}\n` : shown(listing))
  })
}

async function request(options: CaOptions & { out?: string }): Promise<void> {
  await withApi(options, async (api) => {
    const outcome = await api.post<AuthorityOutcome>(`${PATH}/request`, {})
    const { id, csrPem = '' } = outcome
    if (options.out !== undefined) writeFileSync(options.out, csrPem)
    if (options.json === true) process.stdout.write(`${JSON.stringify(outcome)}\n`)
    else
      process.stdout.write(
        options.out === undefined
          ? csrPem
          : `${id}: request written to ${options.out}; import what is signed for it with fleetpulse ca import\n`,
      )
  })
}

async function change(options: CaOptions, path: string, body: object, sentence: (outcome: AuthorityOutcome) => string): Promise<void> {
  await withApi(options, async (api) => {
    const outcome = await api.post<AuthorityOutcome>(`${PATH}/${path}`, body)
    process.stdout.write(options.json === true ? `${JSON.stringify(outcome)}\n` : `${sentence(outcome)}\n`)
  })
}

async function withApi(options: PlatformOptions, use: (api: ApiClient) => Promise<void>): Promise<void> {
  const api = ApiClient.find(options)
  try {
    await use(api)
  } finally {
    await api.close()
  }
}

function begins(id: string, issuesFrom = 0): string {
  return `${id} is trusted now and signs from ${new Date(issuesFrom).toISOString()} on`
}

function shown({ items, requests }: Listing): string {
  const lines = items.map(({ id, state, subject, algorithm, key, notAfter, validCertificates, crl }) => {
    const more =
      validCertificates === undefined
        ? crl === undefined
          ? 'no CRL'
          : `CRL until ${day(crl.nextUpdate)}`
        : `${validCertificates} valid certificates`
    return `${id.padEnd(12)} ${state.padEnd(9)} until ${day(notAfter)}  ${algorithm.padEnd(11)} ${key.padEnd(9)} ${more}\n${' '.repeat(13)}${subject}`
  })
  const waiting = requests.map(({ id, requestedAt }) => `${id.padEnd(12)} requested ${day(requestedAt)}: waits for its certificate`)
  return `${[...lines, ...waiting].join('\n')}\n`
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw new InvalidInputError(`the file ${file} cannot be read: ${describeError(error)}`, { cause: error })
  }
}
