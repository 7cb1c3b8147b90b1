/**
 * Records of so many figures each, in order, in one array of doubles. A large fleet has millions of them: as objects, each would be one more
 * thing for the collector to follow; as typed arrays, each would be memory outside of its heap to ask for, to count and to give back.
 */
export class Records {
  readonly stride: number
  /** The records, one behind the other; another array once `insert` needed more room. */
  block: number[] = []
  length = 0

  constructor(stride: number) {
    this.stride = stride
  }

  /** Makes room for a record at this index and moves those from there on; what the room holds is left from others. */
  insert(index: number): void {
    const { stride, length } = this
    // Twice as many, so that growing costs a record the same however many there are. Copied arrays of doubles stay such.
    if (length === 0) {
      if (this.block.length === 0) this.block = recordOf(stride).slice()
    } else if (this.block.length < (length + 1) * stride) this.block = this.block.concat(this.block)
    const { block } = this
    for (let from = length * stride - 1; from >= index * stride; from--) block[from + stride] = block[from]!
    this.length++
  }

  removeFirst(count: number): void {
    if (count === 0) return
    const { block, stride, length } = this
    for (let from = count * stride; from < length * stride; from++) block[from - count * stride] = block[from]!
    this.length -= count
  }
}

const templates = new Map<number, readonly number[]>()

/** Of figures that are no whole numbers: an array of those would be of another kind, and change when the first double comes. */
function recordOf(stride: number): readonly number[] {
  const known = templates.get(stride)
  if (known !== undefined) return known
  const made = Array.from({ length: stride }, () => 0.5)
  templates.set(stride, made)
  return made
}
