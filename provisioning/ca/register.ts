import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Type, type Static } from 'typebox'
import { CRL_REASONS, type CrlReason } from '../../contracts/certificate.ts'
import { writeFileAtomically } from '../../kernel/files.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { codeOf, corrupt } from './pki-errors.ts'

const IdSchema = Type.String({ pattern: '^(root|issuing)(-[0-9]{1,4})?$' })
const KeySchema = Type.Object({
  store: Type.Union([Type.Literal('file'), Type.Literal('pkcs11')]),
  name: Type.String({ pattern: '^[a-z0-9-]{1,64}$' }),
})
const RetirementSchema = Type.Object({
  atMs: Type.Integer(),
  reason: Type.Unsafe<CrlReason>({ type: 'string', enum: Object.keys(CRL_REASONS) }),
})

/** Which CAs there are and where their keys lie. Certificates are in files beside it, named by id. Writing it is what makes a change real. */
const RegisterSchema = Type.Object(
  {
    /** Part of every CA name of this installation, and of its keys' names in a shared token. */
    mark: Type.String({ pattern: '^[0-9A-F]{8}$' }),
    roots: Type.Array(
      Type.Object({
        id: IdSchema,
        /** Null where the key is kept elsewhere. A key file that was taken away says the same. */
        key: Type.Union([KeySchema, Type.Null()]),
        /** Of the CRL in the file `ID.crl`; 0 before the first. */
        crlNumber: Type.Integer({ minimum: 0 }),
      }),
    ),
    issuers: Type.Array(
      Type.Object({
        id: IdSchema,
        root: IdSchema,
        key: KeySchema,
        /** From then on it signs new certificates, epoch ms; trusted from the moment it is here, so that every edge knows it by then. */
        issuesFromMs: Type.Integer(),
        retired: Type.Union([RetirementSchema, Type.Null()]),
      }),
    ),
    /** Keys made for a CA whose certificate is signed elsewhere; the request is in the file `ID.csr`. */
    requests: Type.Array(Type.Object({ id: IdSchema, key: KeySchema, requestedAtMs: Type.Integer() })),
  },
  { additionalProperties: false },
)
export type Register = Static<typeof RegisterSchema>
export type RootEntry = Register['roots'][number]
export type IssuerEntry = Register['issuers'][number]

export const REGISTER_FILE = 'authorities.json'

const check = compileSchema(RegisterSchema)

/** Undefined when there is none: a folder of before there could be several CAs. Throws StoreError for a damaged one. */
export async function readRegister(folder: string): Promise<Register | undefined> {
  let text: string
  try {
    text = await readFile(join(folder, REGISTER_FILE), 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch (error) {
    throw corrupt(folder, REGISTER_FILE, 'is not readable JSON', error)
  }
  const checked = check(parsed)
  if (checked.status === 'valid') return checked.value
  const fault = checked.faults[0]
  throw corrupt(folder, REGISTER_FILE, `does not fit at "${fault?.path ?? ''}" (${fault?.problem ?? 'unknown'})`)
}

export async function writeRegister(folder: string, register: Register): Promise<void> {
  await writeFileAtomically(join(folder, REGISTER_FILE), `${JSON.stringify(register, null, 2)}\n`, 0o644)
}

/** The next free id: `issuing-2` after `issuing`, also when an older one was never used. */
export function nextId(register: Register, kind: 'root' | 'issuing'): string {
  const taken = [...register.roots, ...register.issuers, ...register.requests].map(({ id }) => id).filter((id) => id.startsWith(kind))
  const last = Math.max(0, ...taken.map((id) => Number(id.split('-')[1] ?? 1)))
  return last === 0 ? kind : `${kind}-${last + 1}`
}
