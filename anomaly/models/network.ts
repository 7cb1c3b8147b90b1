import type { Optimizer } from '@tensorflow/tfjs-core'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { InvalidInputError } from '../../kernel/errors.ts'
import type { Backend } from './backend.ts'

/** Sizes of an autoencoder: a window of `rows` × `metrics` figures in and out. */
export interface NetworkShape {
  readonly metrics: number
  readonly rows: number
  readonly hidden: number
  /** Figures in the middle, fewer than go in: what goes together must be told by one. */
  readonly middle: number
}

/** Figures of one window. */
export function widthOf(shape: NetworkShape): number {
  return shape.metrics * shape.rows
}

/** Lengths of the weights, in their order: a kernel and a bias per layer. */
export function weightSizes(shape: NetworkShape): number[] {
  const width = widthOf(shape)
  const { hidden, middle } = shape
  return [width * hidden, hidden, hidden * middle, middle, middle * hidden, hidden, hidden * width, width]
}

/**
 * Tells windows of normal readings again through a narrow middle: width → hidden → middle → hidden → width, all dense, which every backend
 * can train. The same seed gives the same first weights.
 */
export class Network {
  readonly shape: NetworkShape
  readonly #backend: Backend
  readonly #model: LayersModel
  #optimizer: Optimizer | undefined

  constructor(backend: Backend, shape: NetworkShape, seed = 0) {
    this.shape = shape
    this.#backend = backend
    const { layers } = backend.layers
    const width = widthOf(shape)
    const dense = (k: number, units: number, activation: 'tanh' | 'linear', input?: number) =>
      layers.dense({
        units,
        activation,
        kernelInitializer: backend.layers.initializers.glorotUniform({ seed: seed * 16 + k }),
        ...(input === undefined ? {} : { inputShape: [input] }),
      })
    this.#model = backend.layers.sequential({
      layers: [
        dense(1, shape.hidden, 'tanh', width),
        dense(2, shape.middle, 'linear'),
        dense(3, shape.hidden, 'tanh'),
        dense(4, width, 'linear'),
      ],
    })
  }

  /** The windows as the network tells them: `count` of them one after the other, the same whatever stands beside them. */
  tell(windows: Float32Array, count: number): Float32Array {
    const { tf } = this.#backend
    const width = widthOf(this.shape)
    return tf.tidy(() => {
      const told = this.#model.predict(tf.tensor2d(windows.subarray(0, count * width), [count, width]))
      if (Array.isArray(told)) throw new TypeError('the network has one output')
      return new Float32Array(told.dataSync())
    })
  }

  /** Gets it ready to be trained. */
  learnAt(rate: number): void {
    this.#optimizer = this.#backend.tf.train.adam(rate)
    this.#model.compile({ optimizer: this.#optimizer, loss: 'meanSquaredError' })
  }

  /** One step on some windows, to be told as `wanted`; answers the mean squared error before it. */
  async step(windows: Float32Array, wanted: Float32Array, count: number): Promise<number> {
    const { tf } = this.#backend
    const width = widthOf(this.shape)
    const given = tf.tensor2d(windows.subarray(0, count * width), [count, width])
    const told = tf.tensor2d(wanted.subarray(0, count * width), [count, width])
    try {
      const loss = await this.#model.trainOnBatch(given, told)
      return Array.isArray(loss) ? (loss[0] ?? Number.NaN) : loss
    } finally {
      given.dispose()
      told.dispose()
    }
  }

  /** All weights one after the other. */
  weights(): Float32Array {
    return joined(this.#model.getWeights().map((weight) => weight.dataSync() as Float32Array))
  }

  /** Throws InvalidInputError when they are not as many as the shape has. */
  setWeights(weights: Float32Array): void {
    const sizes = weightSizes(this.shape)
    const wanted = sizes.reduce((sum, size) => sum + size, 0)
    if (weights.length !== wanted) throw new InvalidInputError(`a network of this shape has ${wanted} weights, not ${weights.length}`)
    const { tf } = this.#backend
    tf.tidy(() => {
      let at = 0
      const tensors = this.#model.getWeights().map(({ shape }, k) => {
        const size = sizes[k] ?? 0
        const tensor = tf.tensor(weights.slice(at, at + size), shape)
        at += size
        return tensor
      })
      this.#model.setWeights(tensors)
    })
  }

  /** What the optimizer remembers, so that a training that was cut off goes on as if it had not been. */
  async optimizerState(): Promise<Float32Array> {
    const weights = (await this.#optimizer?.getWeights()) ?? []
    return joined(weights.map(({ tensor }) => Float32Array.from(tensor.dataSync())))
  }

  /** Takes back what `optimizerState` answered; `learnAt` comes first. */
  async setOptimizerState(state: Float32Array): Promise<void> {
    const { tf } = this.#backend
    const shapes = this.#model.getWeights().map(({ shape }) => shape)
    const named = ['iter', ...shapes.map((_, k) => `m${k}`), ...shapes.map((_, k) => `v${k}`)]
    let at = 0
    const weights = named.map((name, k) => {
      const shape = k === 0 ? [] : (shapes[(k - 1) % shapes.length] ?? [])
      const size = shape.reduce((product: number, length) => product * (length ?? 1), 1)
      const values = state.slice(at, at + size)
      at += size
      return { name, tensor: k === 0 ? tf.scalar(values[0] ?? 0, 'int32') : tf.tensor(values, shape) }
    })
    await this.#optimizer?.setWeights(weights)
    for (const { tensor } of weights) tensor.dispose()
  }

  dispose(): void {
    this.#optimizer?.dispose()
    this.#model.dispose()
  }
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
