const NONE = new Float64Array(0)

/**
 * Records of so many doubles each, in order, in one block of memory. A large fleet has millions of them: as objects, each figure would be one
 * more thing for the collector to carry.
 */
export class Records {
  readonly stride: number
  /** The records, one behind the other; another array once `insert` needed more room. */
  block: Float64Array = NONE
  length = 0

  constructor(stride: number) {
    this.stride = stride
  }

  /** Makes room for a record at this index and moves those from there on; what the room holds is left from others. */
  insert(index: number): void {
    const { stride, length } = this
    if (this.block.length < (length + 1) * stride) {
      // Twice as many, so that growing costs a record the same however many there are.
      const grown = new Float64Array(Math.max(1, length * 2) * stride)
      grown.set(this.block)
      this.block = grown
    }
    if (index < length) this.block.copyWithin((index + 1) * stride, index * stride, length * stride)
    this.length++
  }

  removeFirst(count: number): void {
    if (count > 0) this.block.copyWithin(0, count * this.stride, this.length * this.stride)
    this.length -= count
  }
}
