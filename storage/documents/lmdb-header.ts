import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { corrupt, newer } from './lmdb-errors.ts'

/** Where LMDB's 64-bit little-endian builds keep what we look at (struct MDB_page_header and MDB_meta in mdb.c). */
const AT = { pageNumber: 0, pageFlags: 18, magic: 24, version: 28, pageBytes: 48, freeRoot: 88, mainRoot: 136, transaction: 152 } as const
const META_BYTES = 160
const META_FLAG = 8
const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
const NO_PAGE = 0xffff_ffff_ffff_ffffn

/**
 * Looks at a data file before LMDB maps it: LMDB ends the whole process on a file that is not its own, and on reading behind the end of one
 * that was cut off. The file must begin as LMDB's, and the roots of its newest state must lie within it. Its length says less: it may
 * rightly be shorter than its last page number, when a large value was written and deleted in one commit.
 * Reads four pages and writes nothing. Throws StoreError STORE_CORRUPT or STORE_NEWER; file-system errors as they come.
 */
export function checkLmdbHeader(path: string): void {
  if (process.arch === 'arm' || process.arch === 'ia32' || !existsSync(path)) return
  const file = openSync(path, 'r')
  try {
    if (fstatSync(file).size === 0) return
    const first = readMeta(file, 0, path)
    const pageBytes = first.readUInt32LE(AT.pageBytes)
    if (pageBytes < 512 || pageBytes > 65_536) throw corrupt(`${path} is damaged: its page size is impossible`)
    const second = readMeta(file, pageBytes, path)
    const newest = first.readBigUInt64LE(AT.transaction) > second.readBigUInt64LE(AT.transaction) ? first : second
    for (const root of [newest.readBigUInt64LE(AT.freeRoot), newest.readBigUInt64LE(AT.mainRoot)]) checkRoot(file, root, pageBytes, path)
  } finally {
    closeSync(file)
  }
}

function readMeta(file: number, position: number, path: string): Buffer {
  const meta = Buffer.alloc(META_BYTES)
  const whole = readSync(file, meta, 0, META_BYTES, position) === META_BYTES
  if (!whole || meta.readUInt32LE(AT.magic) !== MAGIC || (meta.readUInt16LE(AT.pageFlags) & META_FLAG) === 0) {
    throw corrupt(`${path} is damaged: it does not begin as an LMDB file does`)
  }
  if ((meta.readUInt32LE(AT.version) & 0xffff) !== DATA_VERSION) throw newer(path)
  return meta
}

function checkRoot(file: number, root: bigint, pageBytes: number, path: string): void {
  if (root === NO_PAGE) return
  const page = Buffer.alloc(pageBytes)
  const position = Number(root) * pageBytes
  const whole = Number.isSafeInteger(position) && readSync(file, page, 0, pageBytes, position) === pageBytes
  if (!whole) throw corrupt(`${path} is damaged: it is cut off before its newest state`)
  if (page.readBigUInt64LE(AT.pageNumber) !== root) throw corrupt(`${path} is damaged: the page of its newest state is not there`)
}
