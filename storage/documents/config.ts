import { Type, type Static } from 'typebox'

/** Settings of the documents store: on LMDB, but for what seals, which MongoDB shares. */
export const DocumentsConfigSchema = Type.Object(
  {
    documentBytesMax: Type.Integer({
      default: 4_194_304,
      minimum: 1_024,
      maximum: 16_777_216,
      description: "Bytes of one document as JSON; a larger one is refused. At most MongoDB's own bound of 16 MiB.",
    }),
    indexEntriesMax: Type.Integer({
      default: 1_000,
      minimum: 1,
      maximum: 100_000,
      description: 'Entries that one document may have in one index (one per element of an indexed array); more are refused.',
    }),
    scanSliceDocuments: Type.Integer({
      default: 200,
      minimum: 1,
      maximum: 100_000,
      description: 'Documents looked at before a search lets other work of its thread go first: about a millisecond of work.',
    }),
    deleteSliceDocuments: Type.Integer({
      default: 500,
      minimum: 1,
      maximum: 100_000,
      description: 'Documents that deleteMany removes in one transaction; writers of other threads get their turn in between.',
    }),
    diskReserveBytes: Type.Integer({
      default: 33_554_432,
      minimum: 0,
      description:
        "Writes are refused while the disk has less room than this, in bytes; less than the event log's, so that what is in the log can still be worked off. 0 switches it off.",
    }),
    sealKeys: Type.String({
      default: '',
      maxLength: 4_096,
      secret: true,
      description:
        'Keys that seal what is confidential in documents (words of conversations, events of agents; AES-256-GCM), each 32 bytes as base64 or hex, with commas or spaces between: the first seals, all open. Printed masked. Empty: sealKeysFile alone. Every process of a cluster needs the same.',
    }),
    sealKeysFile: Type.String({
      default: '',
      maxLength: 4_096,
      description:
        'File with such keys, one a line, for instance a mounted secret. Both empty: on LMDB seal-keys in the data folder, made on the first start (mode 0600); on MongoDB nothing is sealed.',
    }),
    diskCheckMs: Type.Integer({
      default: 200,
      minimum: 10,
      maximum: 60_000,
      description: 'The room on the disk is looked at every so many ms.',
    }),
  },
  { additionalProperties: false, default: {} },
)

export type DocumentsConfig = Static<typeof DocumentsConfigSchema>
