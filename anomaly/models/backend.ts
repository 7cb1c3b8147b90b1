import { createRequire } from 'node:module'
import { dirname, sep } from 'node:path'
import type * as TensorFlow from '@tensorflow/tfjs-core'
import type * as Layers from '@tensorflow/tfjs-layers'
import { describeError, EnvironmentError, FleetpulseError } from '../../kernel/errors.ts'

/** What calculates: `wasm` everywhere, `tensorflow` where `@tensorflow/tfjs-node` is installed, `cpu` plain JavaScript. */
export const BACKENDS = ['wasm', 'cpu', 'tensorflow'] as const
export type BackendName = (typeof BACKENDS)[number]
/** `auto`: `tensorflow` when it is installed, else `wasm`. */
export type BackendChoice = BackendName | 'auto'

/** TensorFlow.js with one backend ready. There is one for the whole thread: the library keeps it in a global. */
export interface Backend {
  readonly name: BackendName
  readonly tf: typeof TensorFlow
  readonly layers: typeof Layers
}

const WASM_FILE = '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm'
/** Not a literal, so that the compiler does not ask for a package that cannot be installed everywhere. */
const NATIVE_PACKAGE: string = '@tensorflow/tfjs-node'

const require = createRequire(import.meta.url)

let lastOpening: Promise<unknown> = Promise.resolve()

/**
 * Loads the library, which takes a few tenths of a second and some 30 MB, and makes a backend ready. Throws EnvironmentError
 * MODEL_BACKEND_MISSING. One after the other: the library gives up a backend that it makes ready when another is asked for meanwhile.
 */
export function openBackend(choice: BackendChoice): Promise<Backend> {
  const opening = lastOpening.then(() => open(choice))
  lastOpening = opening.catch(() => undefined)
  return opening
}

/** The one of that name, or where it cannot be used here, or none is named, what `auto` takes: its name says which it became. */
export async function openLike(name: BackendName | undefined): Promise<Backend> {
  try {
    return await openBackend(name ?? 'auto')
  } catch (error) {
    if (name === undefined || !(error instanceof FleetpulseError && error.code === 'MODEL_BACKEND_MISSING')) throw error
    return openBackend('auto')
  }
}

async function open(choice: BackendChoice): Promise<Backend> {
  const name = choice === 'auto' ? (isNativeInstalled() ? 'tensorflow' : 'wasm') : choice
  try {
    const tf = await import('@tensorflow/tfjs-core')
    // Otherwise it praises its native sister on standard error.
    tf.enableProdMode()
    await register(name)
    const layers = await import('@tensorflow/tfjs-layers')
    const isThere = await withoutItsHandlers(() => tf.setBackend(name))
    if (!isThere) throw new TypeError(`the library has no backend ${name}`)
    await tf.ready()
    return { name, tf, layers }
  } catch (cause) {
    throw new EnvironmentError('MODEL_BACKEND_MISSING', `the backend ${name} for models cannot be used: ${describeError(cause)}`, {
      remedy: 'Install the package of that backend, or set models.backend to wasm; everything but models works without.',
      cause,
    })
  }
}

/** Is the native library there? It downloads itself when it is installed, so it cannot be a dependency. */
export function isNativeInstalled(): boolean {
  try {
    require.resolve(NATIVE_PACKAGE)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND') return false
    throw error
  }
}

/** The loader of wasm takes over what becomes of uncaught errors in the whole process; that is not its to decide. */
async function withoutItsHandlers<T>(run: () => Promise<T>): Promise<T> {
  const events = ['uncaughtException', 'unhandledRejection'] as const
  const before = events.map((event) => process.listeners(event as 'exit'))
  try {
    return await run()
  } finally {
    events.forEach((event, k) => {
      const added = process.listeners(event as 'exit').filter((listener) => before[k]?.includes(listener) !== true)
      for (const listener of added) process.removeListener(event, listener)
    })
  }
}

async function register(name: BackendName): Promise<void> {
  if (name === 'tensorflow') {
    await import(NATIVE_PACKAGE)
    return
  }
  // The layers calculate constants on it whichever backend is chosen.
  await import('@tensorflow/tfjs-backend-cpu')
  if (name === 'cpu') return
  const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm')
  setWasmPaths(`${dirname(require.resolve(WASM_FILE))}${sep}`)
}
