import type { X509Certificate } from 'node:crypto'
import { DEFAULT_TENANT } from '../../contracts/device.ts'
import type { CertificateFacts } from './certificate-facts.ts'
import type { PostureConfig } from './config.ts'
import type { Found } from './found.ts'
import type { Sighting } from './sightings.ts'

const DAY_MS = 86_400_000
/** Others named in one finding. */
const NAMED_MAX = 10
const CRITICAL_PART = 0.25

/** A setting that lets in, or lets out, more than it need. */
export interface RiskySetting {
  /** Dotted path. */
  setting: string
  risk: string
  remedy: string
}

/** A certificate by itself. */
export function checkCertificate(facts: CertificateFacts): Found[] {
  const { tenant, device, serial, weakKey, weakSignature, permissions, isLive } = facts
  if (!isLive) return []
  const common = { tenant, device, subject: { kind: 'device', id: device }, evidence: { serial } }
  const renew = 'Renew the certificate with a new key, and revoke this one.'
  return [
    ...(weakKey === undefined
      ? []
      : [{ ...common, check: 'key-weak' as const, severity: 'high' as const, title: `${device} uses ${weakKey}`, remedy: renew }]),
    ...(weakSignature === undefined
      ? []
      : [
          {
            ...common,
            check: 'signature-weak' as const,
            severity: 'high' as const,
            title: `The certificate of ${device} is signed with ${weakSignature}`,
            remedy: renew,
          },
        ]),
    ...(permissions.length === 0
      ? []
      : [
          {
            ...common,
            check: 'certificate-permissive' as const,
            severity: 'high' as const,
            title: `The certificate of ${device} permits more than being this device: ${permissions.join('; ')}`,
            remedy: 'Issue one by the profile of this platform, and revoke this one.',
            evidence: { serial, permissions },
          },
        ]),
  ]
}

/** What is known of one key over all certificates that hold it. */
interface KeyUse {
  tenant: string
  device: string
  oldestAt: number
  /** Serial of a live certificate that holds it, if there is one. */
  live: string | undefined
  /** Further devices with a live certificate of this key; `TENANT/DEVICE`. */
  others: Map<string, { tenant: string; device: string; serial: string }> | undefined
}

/** Keys over the whole fleet: shared ones, and ones that are never changed. One small object per key. */
export class KeyChecks {
  readonly #keys = new Map<string, KeyUse>()

  add({ keyId, tenant, device, issuedAt, isLive, serial }: CertificateFacts): void {
    const use = this.#keys.get(keyId)
    if (use === undefined) {
      this.#keys.set(keyId, { tenant, device, oldestAt: issuedAt, live: isLive ? serial : undefined, others: undefined })
      return
    }
    use.oldestAt = Math.min(use.oldestAt, issuedAt)
    if (!isLive) return
    if (use.live === undefined) Object.assign(use, { tenant, device, live: serial })
    else if (use.tenant === tenant && use.device === device) use.live = serial
    else (use.others ??= new Map()).set(`${tenant}/${device}`, { tenant, device, serial })
  }

  *found(nowMs: number, { keyAgeDaysMax }: PostureConfig): Generator<Found> {
    for (const [keyId, { tenant, device, live, others, oldestAt }] of this.#keys) {
      if (live === undefined) continue
      const holders = [{ tenant, device, serial: live }, ...(others?.values() ?? [])]
      if (holders.length > 1) for (const holder of holders) yield sharedKey(keyId, holder, holders)
      const ageDays = Math.floor((nowMs - oldestAt) / DAY_MS)
      if (ageDays > keyAgeDaysMax) yield neverRotated(keyId, { tenant, device, serial: live }, ageDays, oldestAt)
    }
  }
}

interface Holder {
  tenant: string
  device: string
  serial: string
}

function sharedKey(keyId: string, { tenant, device, serial }: Holder, holders: readonly Holder[]): Found {
  // Another tenant's devices are counted and not named.
  const named = holders.filter((other) => other.tenant === tenant && other.device !== device).map((other) => other.device)
  return {
    check: 'key-shared',
    severity: 'critical',
    tenant,
    device,
    subject: { kind: 'device', id: device },
    title: `${device} has the same private key as ${holders.length - 1} other ${holders.length === 2 ? 'device' : 'devices'}: each can pass for the others`,
    remedy: 'Give every device a key of its own, and revoke the shared certificates for keyCompromise.',
    evidence: { keyId, serial, devices: named.slice(0, NAMED_MAX), devicesTotal: holders.length },
  }
}

function neverRotated(keyId: string, { tenant, device, serial }: Holder, ageDays: number, oldestAt: number): Found {
  return {
    check: 'never-rotated',
    severity: 'medium',
    tenant,
    device,
    subject: { kind: 'device', id: device },
    title: `${device} uses the same key for ${ageDays} days`,
    remedy: 'Renew its certificate with a new key.',
    evidence: { keyId, serial, since: new Date(oldestAt).toISOString() },
  }
}

/** What connections told of a certificate. */
export function checkSighting(sighting: Sighting, isRevoked: boolean, nowMs: number, { seenWindowDays }: PostureConfig): Found[] {
  const { tenant, device, serial, revokedSeen, shared } = sighting
  const isRecent = (lastAt: number): boolean => lastAt >= nowMs - seenWindowDays * DAY_MS
  const common = { tenant, device, subject: { kind: 'device', id: device } }
  const found: Found[] = []
  if (isRevoked && revokedSeen !== null && isRecent(revokedSeen.lastAt)) {
    found.push({
      ...common,
      check: 'revoked-seen',
      severity: 'high',
      title: `Somebody still tries to connect with a revoked certificate of ${device}`,
      remedy: 'Find the machine at this address: it holds a key that should be gone.',
      evidence: { serial, count: revokedSeen.count, lastSeen: new Date(revokedSeen.lastAt).toISOString(), address: revokedSeen.address },
    })
  }
  if (!isRevoked && shared !== null && isRecent(shared.lastAt)) {
    found.push({
      ...common,
      check: 'certificate-shared',
      severity: 'critical',
      title: `The certificate of ${device} is used in ${shared.addresses.length} places in turn`,
      remedy: 'Find the copies; give each machine a certificate of its own, and revoke this one for keyCompromise.',
      evidence: { serial, addresses: shared.addresses, lastSeen: new Date(shared.lastAt).toISOString() },
    })
  }
  return found
}

export function checkAuthorities(authorities: readonly X509Certificate[], nowMs: number, { caWarningDays }: PostureConfig): Found[] {
  return authorities.flatMap((ca): Found[] => {
    const daysLeft = Math.floor((Date.parse(ca.validTo) - nowMs) / DAY_MS)
    if (daysLeft > caWarningDays) return []
    const name = ca.subject.replaceAll('\n', ', ')
    return [
      {
        check: 'ca-expiring',
        severity: daysLeft <= caWarningDays * CRITICAL_PART ? 'critical' : 'high',
        tenant: DEFAULT_TENANT,
        device: null,
        subject: { kind: 'ca', id: ca.fingerprint256.replaceAll(':', '').toLowerCase() },
        title:
          daysLeft < 0
            ? `The CA "${name}" has expired`
            : `The CA "${name}" ends in ${daysLeft} days, and with it every certificate that it signed`,
        remedy:
          'Make its successor with `fleetpulse ca roll` (where the root is kept elsewhere: `ca request` and `ca import`), let devices renew under it, and end this one with `fleetpulse ca retire`.',
        evidence: { subject: name, serial: ca.serialNumber, notAfter: new Date(ca.validTo).toISOString() },
      },
    ]
  })
}

export function checkSettings(settings: readonly RiskySetting[]): Found[] {
  return settings.map(({ setting, risk, remedy }) => ({
    check: 'policy-permissive',
    severity: 'medium',
    tenant: DEFAULT_TENANT,
    device: null,
    subject: { kind: 'setting', id: setting },
    title: risk,
    remedy,
    evidence: { setting },
  }))
}
