/** One system call in a trace of several threads; places are line numbers of the trace. */
export interface SystemCall {
  thread: string
  name: string
  /** Arguments as strace prints them. */
  text: string
  beganAt: number
  endedAt: number
  result: string
}

const LINE = /^(\d+)\s+(.*)$/
const WHOLE = /^(\w+)\((.*)\)\s+= (-?\w+)/
const BEGUN = /^(\w+)\((.*) <unfinished \.\.\.>$/
const RESUMED = /^<\.\.\. (\w+) resumed>(.*)\)\s+= (-?\w+)/

/**
 * The system calls in what `strace -f -o FILE` wrote, in the order they began. A call that another thread interrupts in the trace is put
 * together again; one that never returned is left out.
 */
export function systemCalls(trace: string): SystemCall[] {
  const calls: SystemCall[] = []
  const begun = new Map<string, { name: string; text: string; beganAt: number }>()
  for (const [at, line] of trace.split('\n').entries()) {
    const [, thread = '', rest = ''] = LINE.exec(line) ?? []
    const whole = WHOLE.exec(rest)
    const first = BEGUN.exec(rest)
    const second = RESUMED.exec(rest)
    if (whole !== null)
      calls.push({ thread, name: whole[1] as string, text: whole[2] as string, beganAt: at, endedAt: at, result: whole[3] as string })
    else if (first !== null) begun.set(thread, { name: first[1] as string, text: first[2] as string, beganAt: at })
    else if (second !== null) {
      const start = begun.get(thread)
      begun.delete(thread)
      if (start !== undefined)
        calls.push({ ...start, thread, text: start.text + (second[2] as string), endedAt: at, result: second[3] as string })
    }
  }
  return calls.sort((a, b) => a.beganAt - b.beganAt)
}
