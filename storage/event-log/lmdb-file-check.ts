import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { StoreError } from '../../kernel/errors.ts'

/** LMDB's file as its 64-bit little-endian builds write it (struct MDB_meta in mdb.c): where the fields of a meta page lie. */
const META_PAGE_FLAG = 8
const META_MAGIC = 0xbeefc0de
const AT = { pageFlags: 18, magic: 24, version: 28, pageSize: 48, lastPage: 144 } as const
const META_BYTES = 176
const LMDB_DATA_VERSION = 2
const PAGE_BYTES_MIN = 512
const PAGE_BYTES_MAX = 65_536
/** Pages at the very end may be counted but unwritten: those that one transaction both took and gave back. */
const UNWRITTEN_PAGES_MAX = 16

/**
 * Looks at a data file before LMDB maps it, for LMDB ends the whole process on a file that is not its own (it closes what it never opened)
 * or that is shorter than it says (it reads behind the end). Reads two pages; writes nothing.
 * Throws StoreError STORE_CORRUPT or STORE_NEWER; whatever keeps the file from being read is thrown as it came.
 */
export function checkLmdbFile(path: string): void {
  if (process.arch === 'arm' || process.arch === 'ia32') return
  const file = openSync(path, 'r')
  try {
    if (fstatSync(file).size === 0) return
    const first = readMeta(file, 0, path)
    const pageBytes = first.readUInt32LE(AT.pageSize)
    if (pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX) throw damaged(path, 'its page size is impossible')
    const second = readMeta(file, pageBytes, path)
    const lastPage = Math.max(Number(first.readBigUInt64LE(AT.lastPage)), Number(second.readBigUInt64LE(AT.lastPage)))
    // Another thread may be appending: the file only grows, so its size is taken after what is compared with it.
    const sizeBytes = fstatSync(file).size
    if (sizeBytes < (lastPage + 1 - UNWRITTEN_PAGES_MAX) * pageBytes) {
      throw damaged(path, `it has ${sizeBytes} bytes and should have ${(lastPage + 1) * pageBytes}`)
    }
  } finally {
    closeSync(file)
  }
}

function readMeta(file: number, position: number, path: string): Buffer {
  const meta = Buffer.alloc(META_BYTES)
  if (readSync(file, meta, 0, META_BYTES, position) !== META_BYTES) throw damaged(path, 'it is cut off at its beginning')
  if (meta.readUInt32LE(AT.magic) !== META_MAGIC || (meta.readUInt16LE(AT.pageFlags) & META_PAGE_FLAG) === 0) {
    throw damaged(path, 'its beginning is not that of an LMDB file')
  }
  const version = meta.readUInt32LE(AT.version) & 0xffff
  if (version !== LMDB_DATA_VERSION) {
    throw new StoreError('STORE_NEWER', `${path} has LMDB data version ${version}; this program reads version ${LMDB_DATA_VERSION}`, {
      remedy: 'Start the version of Fleetpulse that wrote this data folder, or newer; nothing was changed.',
    })
  }
  return meta
}

function damaged(path: string, why: string): StoreError {
  return new StoreError('STORE_CORRUPT', `${path} is damaged: ${why}`, {
    remedy: 'Keep a copy of the data folder and restore it from a backup; nothing was overwritten.',
  })
}
