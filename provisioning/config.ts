import { Type, type Static } from 'typebox'
import type { ConfigFault } from '../kernel/errors.ts'
import { ruleFaults } from './revocation/revocation-rules.ts'

const DAY_MS = 86_400_000

/** `state/STATE=REASON` or `finding/CHECK=REASON`; what the names may be is checked where the rules are read. */
const RULE_PATTERN = '^(state|finding)/[a-z][a-z0-9-]{0,63}=[A-Za-z]{1,32}$'
/** Keys that the holder of a certificate may bring. */
export const DEVICE_KEY_TYPES = ['ecdsa-p256', 'ecdsa-p384', 'rsa'] as const

/** Certificates, the doors to them, and the two listeners that devices and verifiers use. */
export const ProvisioningConfigSchema = Type.Object(
  {
    serverNames: Type.Array(Type.String({ minLength: 1, maxLength: 253, pattern: '^[A-Za-z0-9*:][A-Za-z0-9.:_-]*$' }), {
      default: [],
      maxItems: 64,
      description:
        'Host names and addresses, besides localhost, 127.0.0.1 and ::1, that our server certificate is made for. The first one is the host of the default pkiUrl.',
    }),
    httpsHost: Type.String({
      default: '0.0.0.0',
      env: 'FLEETPULSE_HTTPS_HOST',
      description: 'Address of the device HTTPS listener (EST and HTTPS ingest).',
    }),
    httpsPort: Type.Integer({
      default: 8443,
      minimum: 0,
      maximum: 65_535,
      env: 'FLEETPULSE_HTTPS_PORT',
      description: 'Port of the device HTTPS listener; 0 takes any free one.',
    }),
    pkiHttpHost: Type.String({
      default: '0.0.0.0',
      env: 'FLEETPULSE_PKI_HTTP_HOST',
      description: 'Address of the plain HTTP listener that serves CRL and CA certificates.',
    }),
    pkiHttpPort: Type.Integer({
      default: 8081,
      minimum: 0,
      maximum: 65_535,
      env: 'FLEETPULSE_PKI_HTTP_PORT',
      description: 'Port of the plain HTTP listener; 0 takes any free one.',
    }),
    pkiUrl: Type.String({
      default: '',
      pattern: '^(https?://[^\\s/?#]+(/[^\\s?#]*)?)?$',
      env: 'FLEETPULSE_PKI_URL',
      description:
        'Origin written into certificates as CRL address, as verifiers reach it. Empty: http://, the first of serverNames or localhost, and the port of the plain HTTP listener.',
    }),
    caPassphrase: Type.String({
      default: '',
      maxLength: 4_096,
      secret: true,
      env: 'FLEETPULSE_CA_PASSPHRASE',
      description:
        'What the private keys in the data folder (of CAs, listeners and statements) are encrypted with; printed masked. Empty: the content of caPassphraseFile. To change it: fleetpulse ca passphrase.',
    }),
    caPassphraseFile: Type.String({
      default: '',
      maxLength: 4_096,
      env: 'FLEETPULSE_CA_PASSPHRASE_FILE',
      description:
        'File whose content is the passphrase of the CA keys, for instance a mounted secret. Empty: ca-passphrase in the data folder, made on the first start (mode 0600).',
    }),
    caKeyAlgorithm: Type.Union(
      [
        Type.Literal('ecdsa-p256'),
        Type.Literal('ecdsa-p384'),
        Type.Literal('rsa-2048'),
        Type.Literal('rsa-3072'),
        Type.Literal('rsa-4096'),
      ],
      {
        default: 'ecdsa-p256',
        description: 'Kind of new CA keys. P-256: verified by every TLS stack on small devices, often in hardware.',
      },
    ),
    caKeyStore: Type.Union([Type.Literal('file'), Type.Literal('pkcs11')], {
      default: 'file',
      description:
        'Where new CA keys are made and stay: encrypted files in the data folder, or a PKCS#11 token (needs the optional package pkcs11js). Keys made before stay where they are.',
    }),
    pkcs11Module: Type.String({
      default: '',
      maxLength: 4_096,
      description: "Path of the token's PKCS#11 library, for instance /usr/lib/softhsm/libsofthsm2.so.",
    }),
    pkcs11TokenLabel: Type.String({ default: '', maxLength: 32, description: 'Label of the token that holds the CA keys.' }),
    pkcs11Pin: Type.String({ default: '', maxLength: 256, secret: true, description: 'User PIN of the token; printed masked.' }),
    rootCrlLifetimeDays: Type.Integer({
      default: 180,
      minimum: 1,
      maximum: 3_653,
      description:
        "Days from thisUpdate to nextUpdate of a root's CRL, which lists retired issuing CAs; signed anew when half of it is over.",
    }),
    crossOverDelayMs: Type.Integer({
      default: 15_000,
      minimum: 0,
      maximum: DAY_MS,
      description:
        'ms for which a new issuing CA is trusted before it signs its first certificate: time for every edge to learn of it. Several times authorityPollMs.',
    }),
    authorityPollMs: Type.Integer({
      default: 2_000,
      minimum: 10,
      maximum: 600_000,
      description: 'ms between looks of an edge in a process of its own at what the registry publishes of its CAs.',
    }),
    rootLifetimeDays: Type.Integer({
      default: 7_305,
      minimum: 365,
      maximum: 10_957,
      description: 'Days a new root CA is valid; used on the first start only. 20 years: longer than the devices that trust it.',
    }),
    issuingLifetimeDays: Type.Integer({
      default: 1_826,
      minimum: 90,
      maximum: 3_653,
      description:
        'Days a new issuing CA is valid; used on the first start only. 5 years: its key is used every day and lies on this machine.',
    }),
    issuingRollBeforeDays: Type.Integer({
      default: 400,
      minimum: 0,
      maximum: 1_826,
      description:
        'Days before the end of the last issuing CA at which its successor is made without being asked, where the key of the root is here; 0: never. More than deviceLifetimeDays, so that no device certificate is cut short. Where the root is kept elsewhere an alert says what to do (posture.caWarningDays).',
    }),
    serverLifetimeDays: Type.Number({
      default: 180,
      minimum: 0.01,
      maximum: 366,
      description: 'Days a server certificate is valid; it renews itself. At most 366, beyond which common TLS clients refuse.',
    }),
    deviceLifetimeDays: Type.Number({
      default: 365,
      minimum: 0.0001,
      maximum: 1_826,
      description:
        'Days a device certificate is valid. A year: devices lie in stores for months and must still be able to renew, and a stolen key is met by revocation, which every listener obeys at once, not by waiting.',
    }),
    backdateMs: Type.Integer({
      default: 300_000,
      minimum: 0,
      maximum: DAY_MS,
      description: 'ms by which notBefore lies in the past, for devices whose clock is behind.',
    }),
    serverRenewAfterFraction: Type.Number({
      default: 0.66,
      minimum: 0.05,
      maximum: 0.95,
      description: 'Part of its lifetime after which the server certificate is renewed; the rest is time to notice that renewal fails.',
    }),
    serverCheckIntervalMs: Type.Integer({
      default: 3_600_000,
      minimum: 1_000,
      maximum: DAY_MS,
      description:
        'ms between looks at whether the server certificate is due. Short against its lifetime, and a machine that slept notices soon.',
    }),
    signingPollMs: Type.Integer({
      default: 200,
      minimum: 10,
      maximum: 60_000,
      description: 'ms between looks of the registry for edges that want a certificate, and of such an edge for its answer.',
    }),
    signingTimeoutMs: Type.Integer({
      default: 60_000,
      minimum: 100,
      maximum: 600_000,
      description: 'ms that an edge in a process of its own waits for a process of the target registry to sign its certificate.',
    }),
    tokenLifetimeMs: Type.Integer({
      default: DAY_MS,
      minimum: 1_000,
      maximum: 90 * DAY_MS,
      description:
        'ms for which an enrolment token may be used. A day: enough to carry it to the device, short enough to be forgotten on paper.',
    }),
    tokenSweepIntervalMs: Type.Integer({
      default: 3_600_000,
      minimum: 1_000,
      maximum: DAY_MS,
      description: 'ms between removals of expired enrolment tokens.',
    }),
    tokensMax: Type.Integer({
      default: 200_000,
      minimum: 1,
      maximum: 10_000_000,
      description: 'Enrolment tokens, used or not, that may be stored at once until they expire.',
    }),
    crlLifetimeMs: Type.Integer({
      default: DAY_MS,
      minimum: 10_000,
      maximum: 30 * DAY_MS,
      description: 'ms from thisUpdate to nextUpdate of the CRL: how long a verifier may keep a copy.',
    }),
    crlRefreshAfterFraction: Type.Number({
      default: 0.5,
      minimum: 0.05,
      maximum: 0.95,
      description: 'Part of its lifetime after which an unchanged CRL is signed anew, so that no copy handed out is about to end.',
    }),
    crlDeltaLifetimeMs: Type.Integer({
      default: 3_600_000,
      minimum: 10_000,
      maximum: 7 * DAY_MS,
      description: 'As crlLifetimeMs, of delta CRLs: they are small, and a verifier that reads them asks more often.',
    }),
    crlImportBytesMax: Type.Integer({
      default: 8_388_608,
      minimum: 1_024,
      maximum: 134_217_728,
      description: 'Bytes of a CRL that is imported; an entry takes about 40, so that 8 MiB hold 200 000.',
    }),
    revokeWhen: Type.Array(Type.String({ pattern: RULE_PATTERN }), {
      default: ['state/decommissioned=cessationOfOperation'],
      maxItems: 64,
      description:
        'What revokes every certificate of a device by itself: state/STATE=REASON when the device comes to that state and is still in it, finding/CHECK=REASON when a finding of that check is opened for it. REASON is a CRLReason name.',
    }),
    ocspLifetimeMs: Type.Integer({
      default: 3_600_000,
      minimum: 10_000,
      maximum: 7 * DAY_MS,
      description: 'ms from thisUpdate to nextUpdate of an OCSP answer: how long a verifier, or a listener that staples it, may use it.',
    }),
    ocspResponderLifetimeDays: Type.Number({
      default: 30,
      minimum: 0.01,
      maximum: 366,
      description:
        'Days the certificate of the OCSP responder is valid; it renews itself. Short, because nobody can ask whether it is revoked (RFC 6960 §4.2.2.2.1).',
    }),
    ocspRequestBytesMax: Type.Integer({
      default: 4_096,
      minimum: 128,
      maximum: 65_536,
      description: 'Bytes of an OCSP request; one certificate takes about 120.',
    }),
    ocspCacheMax: Type.Integer({
      default: 5_000,
      minimum: 0,
      maximum: 1_000_000,
      description: 'Signed OCSP answers without a nonce that are kept for whoever asks next, about a kilobyte each.',
    }),
    deviceKeyTypes: Type.Array(Type.Union([Type.Literal('ecdsa-p256'), Type.Literal('ecdsa-p384'), Type.Literal('rsa')]), {
      default: [...DEVICE_KEY_TYPES],
      minItems: 1,
      maxItems: 3,
      uniqueItems: true,
      description: 'Kinds of key that a device may bring.',
    }),
    rsaBitsMin: Type.Integer({
      default: 2_048,
      minimum: 2_048,
      maximum: 4_096,
      description: 'Smallest RSA device key, in bits (112-bit strength, NIST SP 800-57).',
    }),
    rsaBitsMax: Type.Integer({
      default: 4_096,
      minimum: 2_048,
      maximum: 16_384,
      description: 'Largest RSA device key, in bits; each handshake pays for it.',
    }),
    estBodyBytesMax: Type.Integer({
      default: 16_384,
      minimum: 1_024,
      maximum: 1_048_576,
      description: 'Bytes of an EST request; a CSR with RSA 4096 takes about 2 500.',
    }),
    telemetryBodyBytesMax: Type.Integer({
      default: 262_144,
      minimum: 256,
      maximum: 16_777_216,
      description: 'Bytes of one HTTPS telemetry request.',
    }),
    telemetryRatePerS: Type.Number({
      default: 4_000,
      minimum: 0.1,
      maximum: 1_000_000,
      description:
        'HTTPS telemetry requests of one device, per second, in the long run; above it they are answered 429. As broker.publishRatePerS.',
    }),
    telemetryBurstMax: Type.Integer({
      default: 8_000,
      minimum: 1,
      maximum: 1_000_000,
      description: 'HTTPS telemetry requests a device may send at once after a pause. As broker.publishBurstMax.',
    }),
    connectionsMax: Type.Integer({
      default: 5_000,
      minimum: 1,
      maximum: 200_000,
      description: 'Open connections of each of the two listeners; more are closed at once.',
    }),
    requestTimeoutMs: Type.Integer({
      default: 30_000,
      minimum: 100,
      maximum: 600_000,
      description: 'ms a client may take to send a whole request, TLS handshake apart (which has the same bound).',
    }),
    keepAliveTimeoutMs: Type.Integer({
      default: 65_000,
      minimum: 100,
      maximum: 3_600_000,
      description: 'ms an idle connection stays open between two requests.',
    }),
    drainTimeoutMs: Type.Integer({
      default: 3_000,
      minimum: 0,
      maximum: 60_000,
      description: 'ms that requests in flight get to finish when the listener stops.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type ProvisioningConfig = Static<typeof ProvisioningConfigSchema>

/** Days, possibly fractions of one, in ms. */
export function daysMs(days: number): number {
  return Math.round(days * DAY_MS)
}

/** Bounds that must fit one another. `section` is the dotted path of this section. */
export function crossCheckProvisioningConfig(config: ProvisioningConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const order = (lower: keyof ProvisioningConfig, upper: keyof ProvisioningConfig): void => {
    const [low, high] = [config[lower], config[upper]]
    if (low > high)
      faults.push({ key: `${section}.${lower}`, problem: `${String(low)} is more than ${upper}`, allowed: `at most ${String(high)}` })
  }
  order('rsaBitsMin', 'rsaBitsMax')
  order('issuingLifetimeDays', 'rootLifetimeDays')
  order('deviceLifetimeDays', 'issuingLifetimeDays')
  order('serverLifetimeDays', 'issuingLifetimeDays')
  if (config.caKeyStore === 'pkcs11') {
    for (const key of ['pkcs11Module', 'pkcs11TokenLabel'] as const) {
      if (config[key] === '') faults.push({ key: `${section}.${key}`, problem: 'is missing', allowed: 'a value, with caKeyStore "pkcs11"' })
    }
  }
  if (config.backdateMs >= daysMs(config.deviceLifetimeDays)) {
    const problem = `${config.backdateMs} ms is the whole lifetime of a device certificate (deviceLifetimeDays)`
    faults.push({ key: `${section}.backdateMs`, problem, allowed: `less than ${daysMs(config.deviceLifetimeDays)}` })
  }
  faults.push(...ruleFaults(config.revokeWhen, `${section}.revokeWhen`))
  return faults
}
