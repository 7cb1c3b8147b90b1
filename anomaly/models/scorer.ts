import type { Backend, BackendName } from './backend.ts'
import type { Model, ModelManifest } from './model-file.ts'
import { Network, widthOf } from './network.ts'
import { jointError, metricErrors, scoreOf } from './scoring.ts'

/** A model ready to score. Its scores depend on the model and the window alone, not on what is scored with it. */
export class Scorer {
  readonly manifest: ModelManifest
  readonly backgrounds: Float32Array
  /** Figures of one window. */
  readonly width: number
  /** What calculates: another one may differ in the last bits. */
  readonly backend: BackendName
  readonly #network: Network
  readonly #usual: number[]
  readonly #errors: Float64Array

  constructor(backend: Backend, { manifest, weights, backgrounds }: Model) {
    this.manifest = manifest
    this.backgrounds = backgrounds
    this.width = widthOf(manifest.shape)
    this.backend = backend.name
    this.#network = new Network(backend, manifest.shape)
    this.#network.setWeights(weights)
    this.#usual = manifest.metrics.map(({ usual }) => usual)
    this.#errors = new Float64Array(manifest.metrics.length)
  }

  /** Scores of `count` windows that stand one after the other. */
  scores(windows: Float32Array, count: number): Float64Array {
    const told = this.tell(windows, count)
    const scores = new Float64Array(count)
    for (let at = 0; at < count; at++) {
      metricErrors(windows, told, at, this.manifest.shape, this.#usual, this.#errors)
      scores[at] = scoreOf(jointError(this.#errors), this.manifest.threshold)
    }
    return scores
  }

  /** The windows as the model expects them. */
  tell(windows: Float32Array, count: number): Float32Array {
    return this.#network.tell(windows, count)
  }

  dispose(): void {
    this.#network.dispose()
  }
}
