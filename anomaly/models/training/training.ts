import { integerBetween, seededRandom } from '../../../kernel/random.ts'
import type { Backend } from '../backend.ts'
import { Network, widthOf, type NetworkShape } from '../network.ts'

/** Windows of normal readings, one after the other in order of time: those to learn from, and the later ones to judge by. */
export interface TrainingWindows {
  readonly shape: NetworkShape
  readonly learn: Float32Array
  readonly judge: Float32Array
}

export interface TrainingOptions {
  seed: number
  epochsMax: number
  /** Ends when so many epochs in a row were no better on the windows to judge by. */
  patienceEpochs: number
}

/** Where a training stands after an epoch: enough to go on from as if nothing had been. */
export interface Checkpoint {
  epoch: number
  weights: Float32Array
  optimizer: Float32Array
  best: { epoch: number; loss: number; weights: Float32Array }
  losses: number[]
}

const BATCH = 128
const RATE = 0.003
/** Share of the metrics that are hidden from the network in a window: it must tell them from the others. */
const HIDDEN_SHARE = 0.15
/** Less is no gain. */
const GAIN_MIN = 0.999

/**
 * One training of one network, an epoch at a time. The same windows and seed give the same weights, in one go or with breaks: every epoch
 * draws from a seed of its own.
 */
export class Training {
  readonly network: Network
  readonly #windows: TrainingWindows
  readonly #options: TrainingOptions
  #epoch = 0
  #best: Checkpoint['best'] = { epoch: 0, loss: Number.POSITIVE_INFINITY, weights: new Float32Array(0) }
  #losses: number[] = []

  constructor(backend: Backend, windows: TrainingWindows, options: TrainingOptions) {
    this.#windows = windows
    this.#options = options
    this.network = new Network(backend, windows.shape, options.seed)
    this.network.learnAt(RATE)
  }

  get epoch(): number {
    return this.#epoch
  }
  get best(): Checkpoint['best'] {
    return this.#best
  }
  /** Mean squared error on the windows to judge by, after each epoch. */
  get losses(): readonly number[] {
    return this.#losses
  }
  get isDone(): boolean {
    const { epochsMax, patienceEpochs } = this.#options
    return this.#epoch >= epochsMax || this.#epoch - this.#best.epoch >= patienceEpochs
  }

  /** `goOn` is awaited between two steps of about a ms; when it answers false the epoch is left half done, and nothing goes on from there. */
  async learnEpoch(goOn: () => Promise<boolean> = () => Promise.resolve(true)): Promise<boolean> {
    const { learn, shape } = this.#windows
    const width = widthOf(shape)
    const random = seededRandom(`${this.#options.seed}/${this.#epoch}`)
    // Taken back, the optimizer's state differs in its last bits: so it is taken back before every epoch, and breaks change nothing.
    if (this.#epoch > 0) await this.network.setOptimizerState(await this.network.optimizerState())
    const order = shuffled(learn.length / width, random)
    const given = new Float32Array(BATCH * width)
    const wanted = new Float32Array(BATCH * width)
    for (let at = 0; at < order.length; at += BATCH) {
      const some = order.subarray(at, at + BATCH)
      some.forEach((window, place) => wanted.set(learn.subarray(window * width, (window + 1) * width), place * width))
      given.set(wanted)
      for (let place = 0; place < some.length; place++) hideSome(given, place * width, shape, random)
      await this.network.step(given, wanted, some.length)
      if (!(await goOn())) return false
    }
    this.#epoch++
    this.#judge()
    return true
  }

  #judge(): void {
    const { judge, shape } = this.#windows
    const loss = squaredError(this.network, judge, shape)
    this.#losses.push(loss)
    if (loss < this.#best.loss * GAIN_MIN) this.#best = { epoch: this.#epoch, loss, weights: this.network.weights() }
  }

  async checkpoint(): Promise<Checkpoint> {
    const optimizer = await this.network.optimizerState()
    return { epoch: this.#epoch, weights: this.network.weights(), optimizer, best: this.#best, losses: [...this.#losses] }
  }

  async resume(from: Checkpoint): Promise<void> {
    this.network.setWeights(from.weights)
    await this.network.setOptimizerState(from.optimizer)
    this.#epoch = from.epoch
    this.#best = from.best
    this.#losses = [...from.losses]
  }

  /** Gives the network the best weights there were. */
  useBest(): void {
    if (this.#best.weights.length > 0) this.network.setWeights(this.#best.weights)
  }
}

function shuffled(length: number, random: { next(): number }): Uint32Array {
  const order = Uint32Array.from({ length }, (_, k) => k)
  for (let k = length - 1; k > 0; k--) {
    const other = integerBetween(random, 0, k)
    const mine = order[k] ?? 0
    order[k] = order[other] ?? 0
    order[other] = mine
  }
  return order
}

/** 0 is what is usual. */
function hideSome(windows: Float32Array, begin: number, { metrics, rows }: NetworkShape, random: { next(): number }): void {
  for (let k = 0; k < metrics; k++) {
    if (random.next() >= HIDDEN_SHARE) continue
    for (let row = 0; row < rows; row++) windows[begin + row * metrics + k] = 0
  }
}

const JUDGED_AT_ONCE = 1_024

function squaredError(network: Network, windows: Float32Array, shape: NetworkShape): number {
  let sum = 0
  eachTold(network, windows, shape, (some, told) => {
    for (let i = 0; i < some.length; i++) sum += ((some[i] ?? 0) - (told[i] ?? 0)) ** 2
  })
  return sum / windows.length
}

/** Has the windows told, a bounded number at a time. */
export function eachTold(
  network: Network,
  windows: Float32Array,
  shape: NetworkShape,
  each: (some: Float32Array, told: Float32Array, count: number) => void,
): void {
  const width = widthOf(shape)
  for (let at = 0; at < windows.length; at += JUDGED_AT_ONCE * width) {
    const some = windows.subarray(at, at + JUDGED_AT_ONCE * width)
    each(some, network.tell(some, some.length / width), some.length / width)
  }
}
