import type { ProvisioningConfig } from './config.ts'

/**
 * The origin of CRLs and OCSP that goes into certificates, without a slash at its end: as configured, or our first name with the port that
 * is bound or, before that, is to be bound.
 */
export function pkiOrigin(
  { pkiUrl, pkiHttpPort, serverNames }: Pick<ProvisioningConfig, 'pkiUrl' | 'pkiHttpPort' | 'serverNames'>,
  boundPort = 0,
): string {
  if (pkiUrl !== '') return pkiUrl.replace(/\/+$/, '')
  const host = serverNames.find((name) => !name.startsWith('*')) ?? 'localhost'
  return `http://${host.includes(':') ? `[${host}]` : host}:${boundPort === 0 ? pkiHttpPort : boundPort}`
}
