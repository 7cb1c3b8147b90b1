import { Backlog } from '../backlog.ts'
import { Intake } from '../intake.ts'
import type { PacketLimits } from '../limits.ts'
import { PacketState } from '../packet-state.ts'
import { RepeatedFilters } from '../repeated-filters.ts'
import type { Violation } from '../violations.ts'

/** What became of a device's bytes. */
export interface Outcome {
  readonly passedOn: Buffer
  readonly answers: Buffer
  readonly violation: Violation | undefined
  readonly disconnected: boolean
}

/** The check by itself: every CONNECT is accepted at once. */
export class CollectedIntake {
  readonly state: PacketState
  readonly backlog: Backlog
  readonly intake: Intake
  readonly #passedOn: Buffer[] = []
  readonly #answers: Buffer[] = []
  #violation: Violation | undefined
  #disconnected = false
  #connected = false

  constructor(limits: PacketLimits) {
    const repeatedFilters = new RepeatedFilters()
    const onPackets = (bytes: Buffer): void => void this.#passedOn.push(Buffer.from(bytes))
    this.state = new PacketState(limits)
    this.backlog = new Backlog(limits.inflightMax, onPackets)
    this.intake = new Intake({
      state: this.state,
      backlog: this.backlog,
      repeatedFilters,
      nowMs: () => 0,
      listener: {
        onPackets,
        onPublish: () => false,
      onAnswer: (bytes) => void this.#answers.push(bytes),
        onConnect: () => (this.#connected = true),
        onDisconnect: (packet) => {
          this.#disconnected = true
          onPackets(packet)
        },
        onViolation: (violation) => (this.#violation = violation),
      },
    })
  }

  /** Takes bytes in chunks that end at the given offsets. The chunks are copies, for the check may rewrite them. */
  take(bytes: Buffer, cuts: readonly number[] = []): this {
    let start = 0
    for (const cut of [...cuts, bytes.length]) {
      this.intake.take(Buffer.from(bytes.subarray(start, cut)))
      if (this.#connected) {
        this.#connected = false
        this.intake.proceed()
      }
      start = cut
    }
    return this
  }

  get outcome(): Outcome {
    return {
      passedOn: Buffer.concat(this.#passedOn),
      answers: Buffer.concat(this.#answers),
      violation: this.#violation,
      disconnected: this.#disconnected,
    }
  }
}
