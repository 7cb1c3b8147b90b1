import { Presets, SingleBar } from 'cli-progress'

export interface ProgressBar {
  update(what: string, done: number, total: number): void
  stop(): void
}

/** A bar on stderr while a person watches; silent where stderr is no terminal. */
export function progressBar(wanted: boolean): ProgressBar {
  if (!wanted || !process.stderr.isTTY) return { update: () => undefined, stop: () => undefined }
  const bar = new SingleBar({ format: '{bar} {percentage}% {value}/{total} {what}', stream: process.stderr, hideCursor: true, clearOnComplete: true }, Presets.shades_classic)
  let running = false
  return {
    update: (what, done, total) => {
      if (!running) bar.start(total, done, { what })
      running = true
      bar.setTotal(total)
      bar.update(done, { what })
    },
    stop: () => {
      if (running) bar.stop()
      running = false
    },
  }
}
