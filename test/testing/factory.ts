import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** Runs a program to its end; throws when it fails. */
export async function run(program: string, args: readonly string[], timeoutMs = 20_000): Promise<string> {
  const { stdout } = await promisify(execFile)(program, [...args], { timeout: timeoutMs })
  return stdout
}

/** As `run`; answers what it wrote to both streams, and that it failed where it did. */
export async function attempt(program: string, args: readonly string[], timeoutMs = 20_000): Promise<{ ok: boolean; text: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, [...args], { timeout: timeoutMs })
    return { ok: true, text: stdout + stderr }
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string }
    return { ok: false, text: stdout + stderr }
  }
}

/** A device maker with a CA of its own, made and used by openssl alone. */
export class Factory {
  readonly folder: string

  private constructor(folder: string) {
    this.folder = folder
  }

  static async open(folder: string, subject = '/O=Maker/CN=Maker Root'): Promise<Factory> {
    mkdirSync(folder, { recursive: true })
    const factory = new Factory(folder)
    await run('openssl', [
      ...['req', '-x509', ...EC, '-keyout', factory.path('ca.key'), '-out', factory.path('ca.pem'), '-subj', subject, '-days', '30'],
      ...['-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ])
    return factory
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  get caPem(): string {
    return readFileSync(this.path('ca.pem'), 'utf8')
  }

  /** A certificate for this subject; answers the paths of its files. */
  async certificate(
    name: string,
    subject: string,
    options: { days?: number; extensions?: string } = {},
  ): Promise<{ cert: string; key: string }> {
    const [key, csr, cert] = [this.path(`${name}.key`), this.path(`${name}.csr`), this.path(`${name}.pem`)]
    await run('openssl', ['req', '-new', ...EC, '-keyout', key, '-out', csr, '-subj', subject])
    const extensions = this.path(`${name}.ext`)
    writeFileSync(extensions, options.extensions ?? 'basicConstraints=CA:FALSE\n')
    await run('openssl', [
      ...['x509', '-req', '-in', csr, '-CA', this.path('ca.pem'), '-CAkey', this.path('ca.key'), '-CAcreateserial', '-out', cert],
      ...['-days', String(options.days ?? 30), '-extfile', extensions],
    ])
    return { cert, key }
  }
}

/** A key and a request made by openssl; answers the paths of its files. */
export async function request(folder: string, name: string, subject: string): Promise<{ key: string; csr: string }> {
  const [key, csr] = [join(folder, `${name}.key`), join(folder, `${name}.csr`)]
  await run('openssl', ['req', '-new', ...EC, '-keyout', key, '-out', csr, '-subj', subject])
  return { key, csr }
}
