/** One measured number, printed as a line of JSON. */
export interface Figure {
  bench: string
  figure: string
  value: number | null
  unit: string
  [detail: string]: unknown
}

export function report(figure: Figure): void {
  process.stdout.write(`${JSON.stringify(figure)}\n`)
}

/** Says that something was not as it must be: the bench goes on and ends with exit code 1. */
export function complain(sentence: string): void {
  process.stderr.write(`NOT AS IT MUST BE: ${sentence}\n`)
  process.exitCode = 1
}

export function rounded(value: number, digits = 2): number {
  return Number(value.toFixed(digits))
}
