/** A certificate of the device, as the receipt names it. */
export interface CertificateFact {
  serial: string
  /** Of the DER, lower-case hex. */
  sha256: string
  /** Epoch ms. */
  revokedAt: number | null
  reason: string | null
}

/** What a device can prove its identity with. The enrolment doors fulfil it. */
export interface DeviceCredentials {
  /** Certificates with which it could connect now. */
  countValid(tenant: string, device: string): Promise<number>
  /**
   * Revokes every valid certificate, and withdraws what was made for the device to get one with. Answers all certificates that it ever had
   * as they are then, the newest first. Repeating it changes nothing.
   */
  revokeAll(
    tenant: string,
    device: string,
    reason: 'cessationOfOperation' | 'affiliationChanged',
  ): Promise<{ certificates: CertificateFact[]; tokens: number }>
}

/** What is kept of a device under its id beside its readings, by others than the registry. */
export interface DeviceTraces {
  /** Takes the id off it; answers how often, by what it was. Repeating it changes nothing. */
  erase(tenant: string, device: string): Promise<Record<string, number>>
}
