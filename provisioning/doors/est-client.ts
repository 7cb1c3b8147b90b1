import { X509Certificate } from 'node:crypto'
import { Agent, request } from 'undici'
import { AccessError, describeError, EnvironmentError, FleetpulseError, InvalidInputError } from '../../kernel/errors.ts'
import type { DeviceBundle } from './device-bundle.ts'
import { decodeCertsOnly } from '../ca/pkcs7.ts'

export interface EstClientOptions {
  /** For instance `https://localhost:8443`. */
  origin: string
  /** What to trust: root, or root and issuing CA. */
  caPem: string
  /** Shown to the server, for re-enrolment. */
  client?: { keyPem: string; certPem: string }
  /** Bound of each step of a request (connect, headers, body), in ms. */
  timeoutMs?: number
}

const TIMEOUT_MS = 30_000
/** Answers hold at most a few certificates. */
const ANSWER_BYTES_MAX = 262_144

/** A device's side of EST (RFC 7030). Keeps its connection for further requests: close it when done. */
export class EstClient {
  readonly #origin: string
  readonly #agent: Agent
  #authorities: X509Certificate[]

  constructor(options: EstClientOptions) {
    const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
    this.#origin = options.origin
    this.#authorities = certificatesIn(options.caPem)
    this.#agent = new Agent({
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: ANSWER_BYTES_MAX,
      connect: {
        ca: options.caPem,
        timeout: timeoutMs,
        ...(options.client === undefined ? {} : { key: options.client.keyPem, cert: options.client.certPem }),
      },
    })
  }

  /** Root and issuing CA as PEM. RFC 7030 §4.1 */
  async caCertificates(): Promise<string[]> {
    return this.#certificates('GET', 'cacerts')
  }

  /** First certificate, with a one-time token. Fit for `enrolDevice`: `(csr) => client.enrol(csr, { deviceId, token })`. RFC 7030 §4.2.1 */
  async enrol(csrPem: string, credential: { deviceId: string; token: string }): Promise<Omit<DeviceBundle, 'keyPem'>> {
    const basic = Buffer.from(`${credential.deviceId}:${credential.token}`).toString('base64')
    return this.#bundle(await this.#certificates('POST', 'simpleenroll', csrPem, { authorization: `Basic ${basic}` }))
  }

  /** Next certificate, with the current one given as `client`. RFC 7030 §4.2.2 */
  async reenrol(csrPem: string): Promise<Omit<DeviceBundle, 'keyPem'>> {
    return this.#bundle(await this.#certificates('POST', 'simplereenroll', csrPem))
  }

  close(): Promise<void> {
    return this.#agent.close()
  }

  async #bundle([leafPem]: string[]): Promise<Omit<DeviceBundle, 'keyPem'>> {
    if (leafPem === undefined) throw new EnvironmentError('EST_ANSWER_INVALID', 'The EST server answered no certificate.')
    const leaf = new X509Certificate(leafPem)
    // What is trusted may hold the issuer, and one client may enrol a whole fleet: CA certificates are asked for only when they do not fit.
    let issuer = this.#authorities.find((authority) => isIssuer(authority, leaf))
    if (issuer === undefined) {
      this.#authorities = (await this.caCertificates()).map((pem) => new X509Certificate(pem))
      issuer = this.#authorities.find((authority) => isIssuer(authority, leaf))
    }
    if (issuer === undefined) {
      throw new EnvironmentError('EST_ANSWER_INVALID', "The EST server's cacerts do not hold the issuer of the certificate it answered.")
    }
    return { certPem: leafPem + issuer.toString(), caPem: this.#authorities.map((authority) => authority.toString()).join('') }
  }

  async #certificates(method: 'GET' | 'POST', operation: string, csrPem?: string, headers: Record<string, string> = {}): Promise<string[]> {
    const body = csrPem?.replace(/-----[^-]+-----|\s/g, '')
    const { statusCode, text } = await this.#send(method, operation, body, headers)
    if (statusCode !== 200) throw refusal(statusCode, operation, text.trim())
    try {
      return decodeCertsOnly(text).map((der) => new X509Certificate(der).toString())
    } catch (error) {
      throw new EnvironmentError('EST_ANSWER_INVALID', `The EST server's answer to ${operation} is not a PKCS#7 with certificates.`, {
        cause: error,
      })
    }
  }

  async #send(
    method: 'GET' | 'POST',
    operation: string,
    body: string | undefined,
    headers: Record<string, string>,
  ): Promise<{ statusCode: number; text: string }> {
    try {
      const response = await request(`${this.#origin}/.well-known/est/${operation}`, {
        method,
        dispatcher: this.#agent,
        headers: {
          ...headers,
          ...(body === undefined ? {} : { 'content-type': 'application/pkcs10', 'content-transfer-encoding': 'base64' }),
        },
        ...(body === undefined ? {} : { body }),
      })
      return { statusCode: response.statusCode, text: await response.body.text() }
    } catch (error) {
      throw new EnvironmentError('EST_UNREACHABLE', `The EST server ${this.#origin} cannot be reached: ${describeError(error)}.`, {
        retryable: true,
        remedy: 'Check the address, that the platform runs, and that ca.pem is the one of its data folder.',
        cause: error,
      })
    }
  }
}

function certificatesIn(pem: string): X509Certificate[] {
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((block) => new X509Certificate(block))
}

function isIssuer(authority: X509Certificate, leaf: X509Certificate): boolean {
  return leaf.checkIssued(authority) && leaf.verify(authority.publicKey)
}

function refusal(statusCode: number, operation: string, text: string): FleetpulseError {
  const message = `The EST server refused ${operation} (${statusCode}): ${text.slice(0, 500)}`
  if (statusCode === 401)
    return new AccessError('UNAUTHENTICATED', message, { remedy: 'Ask for a new enrolment token: each works once and expires.' })
  if (statusCode === 403) return new AccessError('FORBIDDEN', message, { remedy: 'Check the state of the device and of its certificate.' })
  if (statusCode < 500) return new InvalidInputError(message)
  return new EnvironmentError('EST_UNREACHABLE', message, { retryable: true })
}
