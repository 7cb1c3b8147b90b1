/**
 * An entry holds the messages that one partition got in one commit. Little-endian:
 *
 *     0  u8   layout version (1)
 *     1  u8   schema names in the table
 *     2  u16  0
 *     4  u32  messages
 *     8  f64  epoch ms at which the log took them
 *    16  f64  bytes of all entries of this partition before this one, since its beginning
 *    24  u32  where the schema table begins
 *    28  u32  CRC-32 of every other byte
 *    32  messages, each: u32 value bytes, u16 key bytes, u8 schema index, u8 flags, key, [u32 header bytes, headers], value
 *        headers, each: u16 name bytes, u32 value bytes, name, value
 *        schema table, each: u8 bytes, name
 *
 * Offsets are not inside: an entry's key carries its first one, and the others count up from it.
 */
export const ENTRY_LAYOUT_VERSION = 1
export const ENTRY_AT = { version: 0, schemas: 1, messages: 4, appendedAt: 8, bytesBefore: 16, schemaTable: 24, crc: 28, body: 32 } as const

/** Bytes in front of each message's key. */
export const MESSAGE_PREFIX_BYTES = 8
export const HEADER_PREFIX_BYTES = 6

export const FLAG_HEADERS = 1
/** The key is plain ASCII, which decodes faster. */
export const FLAG_ASCII_KEY = 2

/** An index is one byte. */
export const SCHEMAS_PER_ENTRY_MAX = 255
/** UTF-8 needs at most three bytes per UTF-16 unit; the lengths of keys and names are stored in two bytes and one. */
export const UTF8_BYTES_PER_UNIT = 3
export const KEY_CHARACTERS_MAX = 1_024
export const SCHEMA_CHARACTERS_MAX = 80
export const HEADERS_MAX = 64
export const HEADER_NAME_CHARACTERS_MAX = 256
export const HEADER_VALUE_CHARACTERS_MAX = 16_384
