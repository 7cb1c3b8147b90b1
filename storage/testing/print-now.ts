import { writeSync } from 'node:fs'

/** Writes to stdout before it returns, also when the pipe is full for a moment: what a child printed, it had done. */
export function printNow(text: string): void {
  for (let rest = Buffer.from(text); rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}
