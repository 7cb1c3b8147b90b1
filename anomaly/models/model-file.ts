import { createHash } from 'node:crypto'
import { compactVerify, importJWK } from 'jose'
import { Type, type Static } from 'typebox'
import { MODEL_FILE } from '../../contracts/model.ts'
import type { PublicJwk, StatementSigner } from '../../contracts/statement.ts'
import { describeError, InvalidInputError } from '../../kernel/errors.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { weightSizes, widthOf, type NetworkShape } from './network.ts'

/** Version of the layout below, and of what a score is made of: raised with any change that can change a score. */
export const MODEL_LAYOUT = 1
const DECILES = 9
const METRICS_MAX = 64
const ROWS_MAX = 64
const UNITS_MAX = 1_024

const deciles = Type.Array(Type.Number(), { minItems: DECILES, maxItems: DECILES })
const shares = Type.Array(Type.Number({ minimum: 0, maximum: 1.001 }), { minItems: DECILES + 1, maxItems: DECILES + 1 })
const size = (maximum: number) => Type.Integer({ minimum: 1, maximum })

/** Everything that scoring needs but the weights. */
export const ManifestSchema = Type.Object({
  layout: Type.Literal(MODEL_LAYOUT),
  tenant: Type.String(),
  type: Type.String(),
  version: Type.Integer({ minimum: 1 }),
  trainedAt: Type.Integer(),
  seed: Type.Integer(),
  shape: Type.Object({ metrics: size(METRICS_MAX), rows: size(ROWS_MAX), hidden: size(UNITS_MAX), middle: size(UNITS_MAX) }),
  /** A row is taken at most so often, and a window ends at a gap of this length; ms of event time. */
  everyMs: Type.Integer({ minimum: 1 }),
  gapMs: Type.Integer({ minimum: 1 }),
  metrics: Type.Array(
    Type.Object({
      name: Type.String(),
      centre: Type.Number(),
      spread: Type.Number({ exclusiveMinimum: 0 }),
      usual: Type.Number({ exclusiveMinimum: 0 }),
      /** Of its training values: what stands between which, and how many of them do. */
      deciles,
      shares,
    }),
    { minItems: 1, maxItems: METRICS_MAX },
  ),
  threshold: Type.Number({ exclusiveMinimum: 0 }),
  scoreDeciles: deciles,
  scoreShares: shares,
  /** Windows of normal readings, behind the weights: what explanations put in a metric's place. */
  backgrounds: Type.Integer({ minimum: 1, maximum: 1_000 }),
  dataset: Type.String(),
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
})
export type ModelManifest = Static<typeof ManifestSchema>

/** A model that may be used: its signature holds, and it is whole. */
export interface Model {
  readonly manifest: ModelManifest
  readonly weights: Float32Array
  readonly backgrounds: Float32Array
}

const MAGIC = 'FPM1'
const HEAD_BYTES = MAGIC.length + 4
const SIGNATURE_BYTES_MAX = 1_048_576
const checkManifest = compileSchema(ManifestSchema)

/** The file of a model: `FPM1`, the length of the signed manifest, the manifest as JWS, weights and backgrounds as 32-bit floats, all little-endian. */
export async function sealModel(
  manifest: Omit<ModelManifest, 'sha256'>,
  weights: Float32Array,
  backgrounds: Float32Array,
  signer: StatementSigner,
): Promise<Uint8Array> {
  const content = Buffer.concat([bytesOfFloats(weights), bytesOfFloats(backgrounds)])
  const signature = await signer.sign(MODEL_FILE, { ...manifest, sha256: sha256Of(content) })
  const head = Buffer.alloc(HEAD_BYTES)
  head.write(MAGIC)
  head.writeUInt32LE(signature.length, MAGIC.length)
  return Buffer.concat([head, Buffer.from(signature), content])
}

/**
 * Throws InvalidInputError MODEL_REFUSED that says what is wrong: nothing of a file counts before its signature and its sum hold. A tenant is
 * wanted where files of several lie together.
 */
export async function openModel(
  bytes: Uint8Array,
  keys: readonly PublicJwk[],
  wanted: { tenant?: string; type: string; version: number },
): Promise<Model> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (buffer.length < HEAD_BYTES || buffer.toString('latin1', 0, MAGIC.length) !== MAGIC) throw refused('it is no model file')
  const length = buffer.readUInt32LE(MAGIC.length)
  if (length > SIGNATURE_BYTES_MAX || HEAD_BYTES + length > buffer.length) throw refused('it is cut short')
  const manifest = manifestOf(await verified(buffer.toString('latin1', HEAD_BYTES, HEAD_BYTES + length), keys))
  const content = buffer.subarray(HEAD_BYTES + length)
  if (sha256Of(content) !== manifest.sha256) throw refused('what it holds is not what was signed')
  const { tenant, type, version, shape } = manifest
  if (tenant !== (wanted.tenant ?? tenant) || type !== wanted.type || version !== wanted.version)
    throw refused(`it is version ${version} of ${tenant}/${type}`)
  const weights = weightSizes(shape).reduce((sum, each) => sum + each, 0)
  const expected = 4 * (weights + manifest.backgrounds * widthOf(shape))
  if (manifest.metrics.length !== shape.metrics || content.length !== expected)
    throw refused(`it is of another shape: ${content.length} bytes where ${expected} belong`)
  const floats = floatsOf(content)
  if (!floats.every(Number.isFinite)) throw refused('a weight is not a number')
  return { manifest, weights: floats.subarray(0, weights), backgrounds: floats.subarray(weights) }
}

export function shapeOf({ shape }: ModelManifest): NetworkShape {
  return shape
}

async function verified(signature: string, keys: readonly PublicJwk[]): Promise<unknown> {
  try {
    const { payload } = await compactVerify(signature, ({ kid, typ }) => {
      const key = keys.find((each) => each.kid === kid)
      if (key === undefined || typ !== MODEL_FILE)
        throw new TypeError(typ === MODEL_FILE ? 'the key is not known' : 'it is signed as something else')
      return importJWK(key, 'EdDSA')
    })
    return JSON.parse(Buffer.from(payload).toString('utf8')) as unknown
  } catch (cause) {
    throw refused(`it bears no valid signature of this platform (${describeError(cause)})`, cause)
  }
}

function manifestOf(value: unknown): ModelManifest {
  const checked = checkManifest(value)
  if (checked.status === 'valid') return checked.value
  throw refused(
    `its manifest is of another shape (${checked.faults
      .map(({ path, problem }) => `${path} ${problem}`)
      .join('; ')
      .slice(0, 300)})`,
  )
}

function refused(why: string, cause?: unknown): InvalidInputError {
  return new InvalidInputError(`the model's file is refused: ${why}`, {
    code: 'MODEL_REFUSED',
    remedy: 'The former model keeps serving. Train this one anew, or roll back; restore the documents from a backup if they are damaged.',
    ...(cause === undefined ? {} : { cause }),
  })
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

/** Little-endian, as every machine that Node runs on has them. */
export function bytesOfFloats(floats: Float32Array): Uint8Array {
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength)
}

export function floatsOf(bytes: Uint8Array): Float32Array {
  // A buffer's own slice is no copy.
  const aligned = new Uint8Array(bytes)
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4)
}
