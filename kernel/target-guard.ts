import { lookup as systemLookup, Resolver } from 'node:dns/promises'
import type { LookupAddress, LookupOptions } from 'node:dns'
import ipaddr from 'ipaddr.js'
import { EnvironmentError, FleetpulseError, InvalidInputError } from './errors.ts'

/** Cloud metadata services outside the link-local range; no setting but an exact network lets these through. */
const METADATA = ['168.63.129.16/32', '100.100.100.200/32', '192.0.0.192/32', 'fd00:ec2::254/128'].map((cidr) => ipaddr.parseCIDR(cidr))
/** RFC 4291 §2.4: what is assigned for global unicast; ranges outside it embed or tunnel other addresses. */
const GLOBAL_IPV6 = ipaddr.parseCIDR('2000::/3')
const PRIVATE_RANGES = new Set(['private', 'loopback', 'uniqueLocal', 'carrierGradeNat'])
const URL_LENGTH_MAX = 2_048

/** Where outgoing webhooks may go besides public addresses over https. */
export interface TargetRules {
  allowHttp: boolean
  allowPrivateTargets: boolean
  allowedTargets: readonly string[]
}

export type ResolveName = (hostname: string) => Promise<LookupAddress[]>

/** An endpoint lies where webhooks may not go. Nothing was sent. */
export class TargetRefusedError extends FleetpulseError {
  constructor(message: string) {
    super('WEBHOOK_TARGET_REFUSED', 'caller', message, {
      remedy:
        'Use a public address, or let the operator allow its network in the setting allowedTargets (webhooks, or enrolment for its hook).',
    })
  }
}

/**
 * Keeps webhooks from reaching into the operator's own networks (server-side request forgery). Every connection resolves its name here,
 * every address found must be allowed, and the connection goes to the addresses that were checked: a name that answers differently the
 * second time gains nothing.
 */
export class TargetGuard {
  readonly #rules: TargetRules
  readonly #allowed
  readonly #resolve: ResolveName

  constructor(options: { rules: TargetRules; resolve?: ResolveName }) {
    this.#rules = options.rules
    this.#allowed = options.rules.allowedTargets.map((cidr) => ipaddr.parseCIDR(cidr))
    this.#resolve = options.resolve ?? resolveName
  }

  /** What can be said of an endpoint's URL before its name is resolved. InvalidInputError, or TargetRefusedError for a literal address. */
  checkUrl(text: string): URL {
    if (text.length > URL_LENGTH_MAX || !URL.canParse(text))
      throw invalidUrl(`is not an absolute URL of up to ${URL_LENGTH_MAX} characters`)
    const url = new URL(text)
    if (url.protocol !== 'https:' && !(url.protocol === 'http:' && this.#rules.allowHttp)) {
      throw invalidUrl(`must use ${this.#rules.allowHttp ? 'https or http' : 'https'}, not ${url.protocol.slice(0, -1)}`)
    }
    if (url.username !== '' || url.password !== '') throw invalidUrl('must not carry a user name or password')
    url.hash = ''
    const literal = url.hostname.replace(/^\[|\]$/g, '')
    if (ipaddr.isValid(literal)) this.checkAddress(literal)
    return url
  }

  /** Throws TargetRefusedError unless webhooks may go to this address. */
  checkAddress(address: string): void {
    if (!ipaddr.isValid(address)) throw new TargetRefusedError(`${address} is not an IP address`)
    // An IPv4-mapped IPv6 address reaches the IPv4 one.
    const parsed = ipaddr.process(address)
    if (this.#allowed.some((network) => isWithin(parsed, network))) return
    if (METADATA.some((network) => isWithin(parsed, network))) throw new TargetRefusedError(`${address} is a metadata service`)
    const range = parsed.range()
    if (this.#rules.allowPrivateTargets && PRIVATE_RANGES.has(range)) return
    if (range !== 'unicast' || (parsed.kind() === 'ipv6' && !isWithin(parsed, GLOBAL_IPV6))) {
      throw new TargetRefusedError(`${address} is not a public address (${range})`)
    }
  }

  /** For `net.connect` and `tls.connect`; the callback gets only addresses that were all checked. */
  readonly lookup = (
    hostname: string,
    options: LookupOptions,
    done: (error: Error | null, address: string | LookupAddress[], family?: number) => void,
  ): void => {
    this.#addressesOf(hostname).then(
      (addresses) => {
        const fitting =
          options.family === 4 || options.family === 6 ? addresses.filter((each) => each.family === options.family) : addresses
        const first = fitting[0]
        if (first === undefined) done(unresolvable(hostname), '')
        else if (options.all === true) done(null, fitting)
        else done(null, first.address, first.family)
      },
      (error: unknown) => done(error instanceof Error ? error : new Error(String(error)), ''),
    )
  }

  async #addressesOf(hostname: string): Promise<LookupAddress[]> {
    const addresses = await this.#resolve(hostname)
    if (addresses.length === 0) throw unresolvable(hostname)
    for (const { address } of addresses) this.checkAddress(address)
    return addresses
  }
}

function isWithin(address: ipaddr.IPv4 | ipaddr.IPv6, [network, bits]: [ipaddr.IPv4 | ipaddr.IPv6, number]): boolean {
  return address.kind() === network.kind() && address.match(network, bits)
}

function invalidUrl(problem: string): InvalidInputError {
  return new InvalidInputError(`url ${problem}`, { details: { field: 'url' } })
}

function unresolvable(hostname: string): EnvironmentError {
  return new EnvironmentError('WEBHOOK_NAME_UNKNOWN', `${hostname} has no address`, { retryable: true })
}

/**
 * Asks DNS directly, because the system's own lookup occupies one of the few threads that storage uses too, for as long as a name server
 * is slow. The system is asked only for names DNS does not know (hosts file) and for localhost.
 */
async function resolveName(hostname: string): Promise<LookupAddress[]> {
  if (/^(.*\.)?localhost\.?$/i.test(hostname)) return systemLookup(hostname, { all: true })
  const resolver = new Resolver({ timeout: 2_000, tries: 2 })
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(hostname), resolver.resolve6(hostname)])
  const found: LookupAddress[] = []
  if (v4.status === 'fulfilled') found.push(...v4.value.map((address) => ({ address, family: 4 })))
  if (v6.status === 'fulfilled') found.push(...v6.value.map((address) => ({ address, family: 6 })))
  if (found.length > 0) return found
  if (saysUnknown(v4) && saysUnknown(v6)) return systemLookup(hostname, { all: true })
  const failed: unknown = v4.status === 'rejected' ? v4.reason : undefined
  throw new EnvironmentError('WEBHOOK_NAME_UNKNOWN', `${hostname} cannot be resolved`, { retryable: true, cause: failed })
}

function saysUnknown(answer: PromiseSettledResult<string[]>): boolean {
  const code: unknown = answer.status === 'rejected' ? (answer.reason as { code?: unknown }).code : undefined
  return code === 'ENOTFOUND' || code === 'ENODATA'
}
