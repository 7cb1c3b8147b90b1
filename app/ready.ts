import type { Assembly } from './assemble.ts'

/** What was opened, by listener; a process opens what its targets need. */
export interface Addresses {
  mqtts?: number
  wss?: number
  https?: number
  /** Origin of the operator API, without a path. */
  api?: string
  /** Origin of CRLs. */
  pki?: string
  lab?: number
  /** Origin of /metrics, /healthz and /readyz where the API is in another process. */
  operations?: string
}

/** What `--print-ready` prints. */
export interface ReadyLine extends Addresses {
  ready: true
  data: string
}

/** What `--print-ready` prints with every target in one process. */
export type Ready = ReadyLine & Required<Pick<Addresses, 'mqtts' | 'wss' | 'https' | 'api' | 'pki'>>

/** What an assembly's modules opened. */
export function addressesOf({ parts }: Assembly): Addresses {
  const { broker, lab, deviceHttps, api, pkiHttp } = parts
  return {
    ...broker?.ports,
    ...(deviceHttps === undefined ? {} : { https: deviceHttps.port }),
    ...(api === undefined ? {} : { api: api.origin }),
    ...(pkiHttp === undefined ? {} : { pki: pkiHttp.publicUrl }),
    ...(lab?.port === undefined ? {} : { lab: lab.port }),
  }
}
