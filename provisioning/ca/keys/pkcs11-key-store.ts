import { createHash, createPublicKey, type KeyObject } from 'node:crypto'
import { describeError, EnvironmentError, InternalError, StoreError } from '../../../kernel/errors.ts'
import type { Logger } from '../../../kernel/log.ts'
import type { Secret } from '../../../kernel/secret.ts'
import { integerFromHex, objectIdentifier, sequence } from '../der.ts'
import type { KeyAlgorithm, KeyStore, Signer } from './key-store.ts'
import { CK, type Attribute, type Handle, type Pkcs11 } from './pkcs11-api.ts'
import { keyAlgorithmOf, signatureOf } from './signature-algorithm.ts'

export interface Pkcs11Options {
  /** Path of the token's PKCS#11 library. */
  module: string
  /** Label of the token; several may be behind one library. */
  tokenLabel: string
  pin: Secret
  log: Logger
}

interface Opened {
  pkcs11: Pkcs11
  session: Handle
  /** Someone else in this process uses the module too: it is not ours to finalise. */
  isShared: boolean
}

const CURVES = {
  'ecdsa-p256': { oid: objectIdentifier('1.2.840.10045.3.1.7'), jwk: 'P-256' },
  'ecdsa-p384': { oid: objectIdentifier('1.3.132.0.34'), jwk: 'P-384' },
} as const
const RSA_EXPONENT = Buffer.from([1, 0, 1])
/** Larger than any signature: RSA 4096 takes 512 bytes. */
const SIGNATURE_BYTES_MAX = 1_024
/** A variable, so that the optional package is looked for when it is needed and not before. */
const PACKAGE = 'pkcs11js'

/**
 * Keys in a PKCS#11 token (HSM, smart card, SoftHSM): made there, not extractable, named by their label. One session, one operation at a
 * time; a session that the token has dropped is opened again.
 */
export class Pkcs11KeyStore implements KeyStore {
  readonly kind = 'pkcs11'
  readonly #options: Pkcs11Options
  #opened: Opened | undefined
  #queue: Promise<unknown> = Promise.resolve()

  constructor(options: Pkcs11Options) {
    this.#options = options
  }

  async make(name: string, algorithm: KeyAlgorithm): Promise<Signer> {
    if (await this.has(name)) throw new InternalError(`the token has a key named ${name} already`)
    const { generation, publicTemplate, keyType } = generationOf(algorithm)
    const common = [
      { type: CK.TOKEN, value: true },
      { type: CK.LABEL, value: name },
      { type: CK.ID, value: Buffer.from(name) },
      { type: CK.KEY_TYPE, value: keyType },
    ]
    await this.#run('make a key', ({ pkcs11, session }) =>
      pkcs11.C_GenerateKeyPairAsync(
        session,
        { mechanism: generation, parameter: null },
        [...common, ...publicTemplate, { type: CK.CLASS, value: CK.PUBLIC_KEY }, { type: CK.VERIFY, value: true }],
        [
          ...common,
          { type: CK.CLASS, value: CK.PRIVATE_KEY },
          { type: CK.PRIVATE, value: true },
          { type: CK.SENSITIVE, value: true },
          { type: CK.EXTRACTABLE, value: false },
          { type: CK.SIGN, value: true },
        ],
      ),
    )
    return this.open(name)
  }

  async open(name: string): Promise<Signer> {
    const publicKey = await this.#run('read a key', (opened) => publicKeyOf(opened, this.#find(opened, CK.PUBLIC_KEY, name)))
    const { hash, identifier } = signatureOf(publicKey)
    const isRsa = keyAlgorithmOf(publicKey).startsWith('rsa')
    const sign = async (content: Uint8Array): Promise<Buffer> => {
      // Tokens hash for RSA; plain ECDSA takes the digest. Found anew each time: handles end with the session.
      const input = isRsa ? Buffer.from(content) : createHash(hash).update(content).digest()
      const signature = await this.#run('sign', (opened) => {
        const key = this.#find(opened, CK.PRIVATE_KEY, name)
        opened.pkcs11.C_SignInit(opened.session, { mechanism: isRsa ? CK.SHA256_RSA_PKCS : CK.ECDSA, parameter: null }, key)
        return opened.pkcs11.C_SignAsync(opened.session, input, Buffer.alloc(SIGNATURE_BYTES_MAX))
      })
      return isRsa ? signature : ecdsaSignature(signature)
    }
    return { publicKey, signatureAlgorithm: identifier, sign }
  }

  has(name: string): Promise<boolean> {
    return this.#run('look for a key', (opened) => this.#search(opened, CK.PRIVATE_KEY, name).length > 0)
  }

  /** Ends the session; a later call opens another. */
  async close(): Promise<void> {
    await this.#queue.catch(() => undefined)
    this.#drop()
  }

  /** One operation at a time; with a session that was lost meanwhile, once more with a new one. */
  #run<T>(what: string, operation: (opened: Opened) => T | Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      try {
        const kept = this.#opened
        try {
          return await operation((this.#opened ??= await this.#open()))
        } catch (error) {
          if (kept === undefined || error instanceof StoreError) throw error
          this.#drop()
          return await operation((this.#opened = await this.#open()))
        }
      } catch (error) {
        throw error instanceof StoreError || error instanceof EnvironmentError ? error : this.#unusable(`cannot ${what}`, error)
      }
    }
    const result = this.#queue.then(run, run)
    this.#queue = result.catch(() => undefined)
    return result
  }

  async #open(): Promise<Opened> {
    const { module, tokenLabel, pin } = this.#options
    const pkcs11 = await newPkcs11()
    pkcs11.load(module)
    const isShared = !unless(CK.ALREADY_INITIALIZED, () => pkcs11.C_Initialize())
    const slot = pkcs11.C_GetSlotList(true).find((candidate) => pkcs11.C_GetTokenInfo(candidate).label.trim() === tokenLabel)
    if (slot === undefined) throw this.#unusable(`has no token labelled "${tokenLabel}"`)
    const session = pkcs11.C_OpenSession(slot, CK.SERIAL_SESSION | CK.RW_SESSION)
    try {
      unless(CK.ALREADY_LOGGED_IN, () => pkcs11.C_Login(session, CK.USER, pin.reveal()))
    } catch (error) {
      throw this.#unusable('refuses the PIN', error)
    }
    return { pkcs11, session, isShared }
  }

  #drop(): void {
    const opened = this.#opened
    this.#opened = undefined
    try {
      opened?.pkcs11.C_CloseSession(opened.session)
      if (opened?.isShared === false) opened.pkcs11.C_Finalize()
      opened?.pkcs11.close()
    } catch (error) {
      this.#options.log.debug({ error: describeError(error) }, 'the PKCS#11 session was gone already')
    }
  }

  #find(opened: Opened, objectClass: number, name: string): Handle {
    const [object, another] = this.#search(opened, objectClass, name)
    if (object === undefined) throw this.#unusable(`has no key labelled "${name}" in token "${this.#options.tokenLabel}"`)
    if (another !== undefined) throw this.#unusable(`has several keys labelled "${name}" in token "${this.#options.tokenLabel}"`)
    return object
  }

  #search({ pkcs11, session }: Opened, objectClass: number, name: string): Handle[] {
    pkcs11.C_FindObjectsInit(session, [
      { type: CK.CLASS, value: objectClass },
      { type: CK.LABEL, value: name },
    ])
    try {
      return pkcs11.C_FindObjects(session, 2)
    } finally {
      pkcs11.C_FindObjectsFinal(session)
    }
  }

  #unusable(problem: string, cause?: unknown): StoreError {
    const why = cause === undefined ? '' : `: ${describeError(cause)}`
    return new StoreError('STORE_UNUSABLE', `The PKCS#11 module ${this.#options.module} ${problem}${why}.`, {
      remedy: 'Check provisioning.pkcs11Module, pkcs11TokenLabel and pkcs11Pin, and that the token is plugged in or its service runs.',
      ...(cause === undefined ? {} : { cause }),
    })
  }
}

async function newPkcs11(): Promise<Pkcs11> {
  try {
    const loaded = (await import(PACKAGE)) as { PKCS11?: new () => Pkcs11; default?: { PKCS11: new () => Pkcs11 } }
    const Binding = loaded.PKCS11 ?? loaded.default?.PKCS11
    if (Binding === undefined) throw new TypeError('it exports no PKCS11')
    return new Binding()
  } catch (error) {
    throw new EnvironmentError(
      'PKCS11_MISSING',
      `CA keys in a PKCS#11 token need the package ${PACKAGE}, which cannot be loaded: ${describeError(error)}.`,
      {
        remedy: `Install it beside Fleetpulse (npm install ${PACKAGE}; it is compiled on the spot), or set provisioning.caKeyStore to "file".`,
        cause: error,
      },
    )
  }
}

/** Runs; false when the token gave this one answer, which is as good. */
function unless(returnValue: number, run: () => void): boolean {
  try {
    run()
    return true
  } catch (error) {
    if ((error as { code?: unknown }).code === returnValue) return false
    throw error
  }
}

function generationOf(algorithm: KeyAlgorithm): { generation: number; publicTemplate: Attribute[]; keyType: number } {
  if (algorithm === 'ecdsa-p256' || algorithm === 'ecdsa-p384') {
    return { generation: CK.EC_KEY_PAIR_GEN, keyType: CK.EC, publicTemplate: [{ type: CK.EC_PARAMS, value: CURVES[algorithm].oid }] }
  }
  const bits = { type: CK.MODULUS_BITS, value: Number(algorithm.slice(4)) }
  return { generation: CK.RSA_KEY_PAIR_GEN, keyType: CK.RSA, publicTemplate: [bits, { type: CK.PUBLIC_EXPONENT, value: RSA_EXPONENT }] }
}

function publicKeyOf({ pkcs11, session }: Opened, object: Handle): KeyObject {
  const read = (type: number): Buffer => {
    const [attribute] = pkcs11.C_GetAttributeValue(session, object, [{ type }])
    if (attribute === undefined) throw new TypeError('the token does not tell the public key')
    return attribute.value
  }
  if (read(CK.KEY_TYPE)[0] === CK.RSA) {
    const text = (type: number): string => read(type).toString('base64url')
    return createPublicKey({ format: 'jwk', key: { kty: 'RSA', n: text(CK.MODULUS), e: text(CK.PUBLIC_EXPONENT) } })
  }
  const parameters = read(CK.EC_PARAMS)
  const curve = Object.values(CURVES).find(({ oid }) => oid.equals(parameters))
  if (curve === undefined) throw new TypeError('the key is on a curve that our CAs may not have')
  // An OCTET STRING around 04 || x || y; coordinates are the point's halves.
  const point = read(CK.EC_POINT)
  const coordinateBytes = curve.jwk === 'P-256' ? 32 : 48
  const halves = point.subarray(-2 * coordinateBytes)
  const [x, y] = [halves.subarray(0, coordinateBytes), halves.subarray(coordinateBytes)]
  return createPublicKey({
    format: 'jwk',
    key: { kty: 'EC', crv: curve.jwk, x: x.toString('base64url'), y: y.toString('base64url') },
  })
}

/** r || s as a token answers, as the DER Ecdsa-Sig-Value that X.509 wants. RFC 3279 §2.2.3 */
function ecdsaSignature(signature: Buffer): Buffer {
  const half = signature.length / 2
  const integer = (bytes: Buffer): Buffer => integerFromHex(bytes.toString('hex'))
  return sequence(integer(signature.subarray(0, half)), integer(signature.subarray(half)))
}
