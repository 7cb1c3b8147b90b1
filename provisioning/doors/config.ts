import ipaddr from 'ipaddr.js'
import { Type, type Static } from 'typebox'
import { DEVICE_ID_PATTERN } from '../../contracts/device.ts'
import type { ConfigFault } from '../../kernel/errors.ts'

/** Keys that a device, or serverkeygen for it, may use. */
const KEY_TYPES = [
  Type.Literal('P-256'),
  Type.Literal('P-384'),
  Type.Literal('RSA-2048'),
  Type.Literal('RSA-3072'),
  Type.Literal('RSA-4096'),
] as const
const KeyTypeSchema = Type.Union([...KEY_TYPES])
export type KeyType = Static<typeof KeyTypeSchema>

/** How devices come in: the hook that is asked first, claims, factory CAs, and what EST offers. */
export const EnrolmentConfigSchema = Type.Object(
  {
    hookUrl: Type.String({
      default: '',
      maxLength: 2_048,
      secret: true,
      description:
        'Address of the pre-provisioning hook (https), asked before any device gets its first certificate, through whichever door. Empty: none is asked. Once it is set, what it does not allow is refused, its silence included.',
    }),
    hookSecret: Type.String({
      default: '',
      pattern: '^(whsec_[A-Za-z0-9+/]{32,88}={0,2})?$',
      secret: true,
      description: 'Secret that signs requests to the hook as Standard Webhooks says: whsec_ and 24 to 64 bytes in base64. Printed masked.',
    }),
    hookTimeoutMs: Type.Integer({
      default: 5_000,
      minimum: 100,
      maximum: 5_000,
      description:
        'ms for the whole question to the hook, name lookup included; after it the device is refused. A device at the door waits for it.',
    }),
    hookCaFile: Type.String({
      default: '',
      description: 'PEM file with the CA of the hook, where it is not a public one; read at start.',
    }),
    hookAllowHttp: Type.Boolean({ default: false, description: 'true lets the hook use plain http, for a process on the same machine.' }),
    hookAllowPrivateTargets: Type.Boolean({
      default: false,
      description:
        'true lets the hook lie in loopback, private, unique-local and carrier-grade-NAT networks; metadata addresses stay refused.',
    }),
    hookAllowedTargets: Type.Array(Type.String(), {
      default: [],
      maxItems: 100,
      description: 'Networks in CIDR notation that the hook may lie in although they are not public, for instance 10.1.0.0/16.',
    }),
    hookConcurrencyMax: Type.Integer({
      default: 64,
      minimum: 1,
      maximum: 1_000,
      description: 'Questions to the hook at once; a device beyond them is told to come again.',
    }),
    serverKeygenTypes: Type.Array(Type.String({ pattern: `^(\\*|${DEVICE_ID_PATTERN.slice(1, -1)})$` }), {
      default: [],
      maxItems: 1_000,
      description:
        'Device types for which EST serverkeygen makes the private key here and sends it to the device (* is every type). Empty, the default: keys never leave devices.',
    }),
    serverKeygenKey: Type.Union([...KEY_TYPES], { default: 'P-256', description: 'Kind of key that serverkeygen makes.' }),
    csrKeys: Type.Record(
      Type.String({ pattern: `^(\\*|${DEVICE_ID_PATTERN.slice(1, -1)})$` }),
      Type.Array(KeyTypeSchema, { minItems: 1 }),
      {
        default: {},
        description:
          'Keys that devices of a type may use, as {"pump": ["P-256"]}; * is for types without an entry of their own. EST csrattrs asks for them and every door refuses others. Empty: ECDSA P-256 and P-384, and RSA within provisioning.rsaBitsMin and rsaBitsMax.',
      },
    ),
    claimDevicesMax: Type.Integer({
      default: 100_000,
      minimum: 1,
      maximum: 10_000_000,
      description: 'Most devices that one claim may let in, whatever is asked for: bounds what a stolen claim certificate is worth.',
    }),
    claimLifetimeMs: Type.Integer({
      default: 30 * 86_400_000,
      minimum: 1_000,
      maximum: 366 * 86_400_000,
      description: 'ms that a claim certificate is valid at most, and where its maker says nothing.',
    }),
    claimsMax: Type.Integer({
      default: 1_000,
      minimum: 1,
      maximum: 100_000,
      description: 'Claims on record in one tenant; every listener holds them in memory.',
    }),
    factoryCasMax: Type.Integer({
      default: 100,
      minimum: 1,
      maximum: 1_000,
      description: 'Factory CAs registered at once in all tenants; every handshake may look through them.',
    }),
    registrationCodeMs: Type.Integer({
      default: 3_600_000,
      minimum: 1_000,
      maximum: 7 * 86_400_000,
      description: 'ms for which a registration code for a factory CA may be used.',
    }),
    deskPollMs: Type.Integer({
      default: 50,
      minimum: 5,
      maximum: 10_000,
      description: 'ms between looks of the registry for requests from edges, and of an edge for its answers while it waits for some.',
    }),
    deskTimeoutMs: Type.Integer({
      default: 15_000,
      minimum: 100,
      maximum: 120_000,
      description: 'ms that an edge waits for the registry to decide about a claim or a factory certificate; longer than hookTimeoutMs.',
    }),
    deskConcurrencyMax: Type.Integer({
      default: 32,
      minimum: 1,
      maximum: 1_000,
      description: 'Requests of edges that the registry works on at once.',
    }),
    refusalAuditsPerS: Type.Number({
      default: 5,
      minimum: 0.01,
      maximum: 1_000,
      description:
        'Refusals written to the audit trail per second and door in the long run; all are counted, and an entry says how many were left out before it.',
    }),
  },
  { additionalProperties: false, default: {} },
)
export type EnrolmentConfig = Static<typeof EnrolmentConfigSchema>

/** Bounds that must fit one another. `section` is the dotted path of this section. */
export function crossCheckEnrolmentConfig(config: EnrolmentConfig, section: string): ConfigFault[] {
  const faults: ConfigFault[] = []
  const { hookUrl, hookSecret, hookAllowHttp, hookTimeoutMs, deskTimeoutMs } = config
  if (hookUrl !== '') {
    const scheme = URL.canParse(hookUrl) ? new URL(hookUrl).protocol : undefined
    const allowed = hookAllowHttp ? 'an https or http address' : 'an https address (http with hookAllowHttp)'
    if (scheme !== 'https:' && !(scheme === 'http:' && hookAllowHttp))
      faults.push({ key: `${section}.hookUrl`, problem: 'is no such address', allowed })
    if (hookSecret === '') {
      faults.push({
        key: `${section}.hookSecret`,
        problem: 'is empty while hookUrl is set',
        allowed: 'whsec_ and 24 to 64 bytes in base64',
      })
    }
  }
  if (deskTimeoutMs <= hookTimeoutMs) {
    faults.push({
      key: `${section}.deskTimeoutMs`,
      problem: `${deskTimeoutMs} is not more than hookTimeoutMs`,
      allowed: `more than ${hookTimeoutMs}`,
    })
  }
  config.hookAllowedTargets.forEach((cidr, index) => {
    if (!ipaddr.isValidCIDR(cidr)) {
      faults.push({
        key: `${section}.hookAllowedTargets.${index}`,
        problem: `"${cidr}" is not a network`,
        allowed: 'CIDR notation, for instance 10.1.0.0/16',
      })
    }
  })
  return faults
}
