import { readFileSync } from 'node:fs'
import { StoreError } from '../../kernel/errors.ts'
import { Secret } from '../../kernel/secret.ts'
import type { QuestdbConfig } from './questdb-config.ts'

/** Where QuestDB is, and as whom we speak to it. */
export interface QuestdbAddress {
  /** scheme://host:port, without credentials: may be printed. */
  readonly http: string
  /** host:port, may be printed. */
  readonly pg: string
  readonly httpUser: string
  readonly httpPassword: Secret
  readonly pgHost: string
  readonly pgPort: number
  readonly pgDatabase: string
  readonly pgUser: string
  readonly pgPassword: Secret
  /** PEM of the authorities to trust; undefined for those that Node knows. */
  readonly ca: string | undefined
}

const PG_PORT = 8812
const PG_DATABASE = 'qdb'

/** Takes the addresses apart; StoreError when one is no URL, or the file of authorities cannot be read. */
export function questdbAddress(config: QuestdbConfig): QuestdbAddress {
  const http = parse('httpUrl', config.httpUrl)
  const pg = parse('pgUrl', config.pgUrl)
  const port = pg.port === '' ? PG_PORT : Number(pg.port)
  return {
    http: http.origin,
    pg: `${pg.hostname}:${port}`,
    httpUser: http.username === '' ? config.username : decodeURIComponent(http.username),
    httpPassword: new Secret(http.username === '' ? config.password : decodeURIComponent(http.password)),
    pgHost: pg.hostname.replace(/^\[|\]$/g, ''),
    pgPort: port,
    pgDatabase: pg.pathname.slice(1) === '' ? PG_DATABASE : decodeURIComponent(pg.pathname.slice(1)),
    pgUser: pg.username === '' ? config.username : decodeURIComponent(pg.username),
    pgPassword: new Secret(pg.username === '' ? config.password : decodeURIComponent(pg.password)),
    ca: config.tlsCaFile === '' ? undefined : readAuthorities(config.tlsCaFile),
  }
}

function parse(key: string, text: string): URL {
  if (URL.canParse(text)) return new URL(text)
  throw new StoreError('STORE_UNUSABLE', `questdb.${key} is not a URL`, {
    remedy: 'Give it as http://host:port or postgres://host:port/database.',
  })
}

function readAuthorities(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new StoreError('STORE_UNUSABLE', `the file of authorities ${path} cannot be read`, {
      remedy: 'Correct questdb.tlsCaFile.',
      cause,
    })
  }
}
