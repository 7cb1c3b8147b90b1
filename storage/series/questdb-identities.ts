import type { TypeTable } from './questdb-catalogue.ts'
import { microseconds } from './questdb-range.ts'
import type { Parameter, QuestdbSql } from './questdb-sql.ts'
import { MOVED_PARTITION, type ReadingIdentity } from './series-store.ts'

/** Identities of one statement: each binds up to two values, and QuestDB looks up as many instants. */
const STATEMENT_IDENTITIES = 500
const US_PER_MS = 1000

interface StoredIdentity {
  boot: string | null
  seq: number | null
  partition: number
  offset: number
}

/**
 * Which of these identities of one tenant are stored: rows at exactly these instants, of these devices, compared here. With a seq, boot
 * and seq are part of the identity; without, neither is. Neighbours are asked together, so that few rows come back for nothing.
 */
export async function storedIdentities(
  sql: QuestdbSql,
  tables: readonly TypeTable[],
  identities: readonly ReadingIdentity[],
  receivedBefore: number,
): Promise<Set<ReadingIdentity>> {
  const stored = new Set<ReadingIdentity>()
  if (tables.length === 0) return stored
  const sorted = [...identities].sort((a, b) => (a.device < b.device ? -1 : a.device > b.device ? 1 : a.ts - b.ts))
  for (let begin = 0; begin < sorted.length; begin += STATEMENT_IDENTITIES) {
    const asked = sorted.slice(begin, begin + STATEMENT_IDENTITIES)
    const found = await rowsAt(sql, tables, asked, receivedBefore)
    for (const identity of asked) {
      if (found.get(placeOf(identity.device, identity.ts))?.some((row) => isSame(row, identity)) === true) stored.add(identity)
    }
  }
  return stored
}

async function rowsAt(
  sql: QuestdbSql,
  tables: readonly TypeTable[],
  asked: readonly ReadingIdentity[],
  receivedBefore: number,
): Promise<Map<string, StoredIdentity[]>> {
  const parameters: Parameter[] = []
  const bind = (value: Parameter): string => `$${parameters.push(value)}`
  const instants = [...new Set(asked.map(({ ts }) => ts))].map((ts) => `${bind(microseconds(ts))}::LONG::TIMESTAMP`)
  const devices = [...new Set(asked.map(({ device }) => device))].map(bind)
  const kept = receivedBefore > 0 ? ` AND received_at >= ${bind(microseconds(receivedBefore))}::LONG::TIMESTAMP` : ''
  const where = `ts IN (${instants.join(', ')}) AND device IN (${devices.join(', ')})${kept}`
  const branches = tables.map(
    ({ name }) => `SELECT device::VARCHAR device, ts::LONG t, boot, seq, log_partition, log_offset FROM ${name} WHERE ${where}`,
  )
  const rows = await sql.rows('look up identities', branches.join(' UNION ALL '), parameters)
  const found = new Map<string, StoredIdentity[]>()
  for (const [device, tsUs, boot, seq, partition, offset] of rows as [string, number, string | null, number | null, number, number][]) {
    const place = placeOf(device, tsUs / US_PER_MS)
    const there = found.get(place) ?? []
    there.push({ boot, seq, partition, offset })
    if (there.length === 1) found.set(place, there)
  }
  return found
}

function isSame(row: StoredIdentity, asked: ReadingIdentity): boolean {
  const isEarlier = row.partition >= MOVED_PARTITION || (row.partition === asked.partition && row.offset < asked.offset)
  if (!isEarlier || row.seq !== asked.seq) return false
  return asked.seq === null || row.boot === asked.boot
}

function placeOf(device: string, ts: number): string {
  return `${ts} ${device}`
}
