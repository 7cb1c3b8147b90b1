import { createHash } from 'node:crypto'
import type { MetricKind } from '../../contracts/device.ts'

/**
 * Names of tables and columns. QuestDB takes names of up to 127 bytes without regard to case, a metric may have any name at all:
 * so a name is made of a readable part and a fingerprint, and the catalogue remembers what it stands for.
 * Only names made here ever become part of a statement; all are of [a-z0-9_].
 */

/** A short lower-case metric name is its own column; it saves a fingerprint in every line sent. */
const PLAIN_METRIC = /^[a-z][a-z0-9_]{0,47}$/
const SLUG_LENGTH_MAX = 20
const FINGERPRINT_LENGTH = 12

/** Column of a metric: `m_…` for plain names, `x_…` for all others, so that the two cannot meet. */
export function columnName(metric: string): string {
  return PLAIN_METRIC.test(metric) ? `m_${metric}` : `x_${slug(metric)}_${fingerprint(metric)}`
}

/** Table of a tenant's device type. */
export function tableName(prefix: string, tenant: string, type: string): string {
  return `${prefix}${slug(tenant)}_${slug(type)}_${fingerprint(`${tenant}/${type}`)}`
}

/** Roll-up of one column of a table. */
export function rollupName(table: string, column: string): string {
  return `${table}_1m_${fingerprint(column)}`
}

/** The type of column that holds a kind. INT for booleans (0 and 1), because QuestDB's BOOLEAN cannot be null. */
export const KIND_TYPES: Readonly<Record<MetricKind, string>> = { number: 'DOUBLE', boolean: 'INT', string: 'VARCHAR' }

/** The kind a column of ours holds; undefined for a type that we never give a column. */
export function kindOf(columnType: string): MetricKind | undefined {
  return (Object.keys(KIND_TYPES) as MetricKind[]).find((kind) => KIND_TYPES[kind] === columnType)
}

function slug(text: string): string {
  return text
    .replace(/[^A-Za-z0-9]+/g, '_')
    .toLowerCase()
    .slice(0, SLUG_LENGTH_MAX)
}

/** 48 bits. Two names that met would be noticed: the catalogue holds a table or column for one owner only. JSON tells lone surrogates apart. */
function fingerprint(text: string): string {
  return createHash('sha256').update(JSON.stringify(text)).digest('hex').slice(0, FINGERPRINT_LENGTH)
}
