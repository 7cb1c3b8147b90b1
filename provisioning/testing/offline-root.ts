import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openssl } from './openssl.ts'

/** A root CA that openssl keeps, as somebody keeps one on a machine without a network. */
export class OfflineRoot {
  readonly #folder: string
  #serial = 100

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async make(folder: string, name = 'Offline Root'): Promise<OfflineRoot> {
    const root = new OfflineRoot(folder)
    await root.#openssl(
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-nodes', '-keyout', 'off.key', '-out', 'off.crt'],
      [
        ...['-days', '3650', '-subj', `/O=Elsewhere/CN=${name}`, '-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
        ...['-addext', 'basicConstraints=critical,CA:true'],
      ],
    )
    await writeFile(root.path('index.txt'), '')
    await writeFile(root.path('crlnumber'), '01\n')
    await writeFile(
      root.path('ca.cnf'),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${root.path('index.txt')}\ncrlnumber=${root.path('crlnumber')}\ndefault_md=sha256\n`,
    )
    return root
  }

  path(name: string): string {
    return join(this.#folder, name)
  }

  get certificatePem(): Promise<string> {
    return this.#openssl(['x509', '-in', 'off.crt'])
  }

  /** Signs a request; `extensions` as openssl writes them. */
  async sign(csrPem: string, extensions: string, days = '1000'): Promise<string> {
    await writeFile(this.path('request.csr'), csrPem)
    await writeFile(this.path('request.ext'), extensions)
    await this.#openssl(
      ['x509', '-req', '-in', 'request.csr', '-CA', 'off.crt', '-CAkey', 'off.key', '-out', 'signed.crt'],
      [...['-set_serial', String(this.#serial++), '-days', days, '-sha256', '-extfile', this.path('request.ext')]],
    )
    return this.#openssl(['x509', '-in', 'signed.crt'])
  }

  /** A CRL that lists these certificates. */
  async crl(...revokedPems: string[]): Promise<string> {
    for (const [index, pem] of revokedPems.entries()) {
      await writeFile(this.path(`revoked-${index}.crt`), pem)
      await this.#openssl(['ca', '-config', 'ca.cnf', '-keyfile', 'off.key', '-cert', 'off.crt', '-revoke', `revoked-${index}.crt`])
    }
    return this.#openssl(['ca', '-config', 'ca.cnf', '-keyfile', 'off.key', '-cert', 'off.crt', '-gencrl', '-crldays', '30'])
  }

  /** Names of files are those of the folder. */
  #openssl(args: readonly string[], rest: readonly string[] = []): Promise<string> {
    return openssl([...args.map((arg) => (/^[a-z0-9-]+\.[a-z]{3}$/.test(arg) ? this.path(arg) : arg)), ...rest])
  }
}

/** What an issuing CA's certificate must say. */
export const ISSUING_EXTENSIONS =
  'basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid:always\n'
