import { explicit, implicitPrimitive, sequence } from './der.ts'

export const FRESHEST_CRL_OID = '2.5.29.46'

/** CRLDistributionPoints with one address, DER. RFC 5280 §4.2.1.13; also the form of FreshestCRL, §4.2.1.15 and §5.2.6. */
export function distributionPoint(url: string): Buffer {
  return sequence(sequence(explicit(0, explicit(0, implicitPrimitive(6, Buffer.from(url, 'ascii'))))))
}
