import { InvalidInputError } from '../kernel/errors.ts'

/** One line of a text, with the characters that ended it: `\n`, `\r\n`, or nothing at the very end. */
export interface TextLine {
  text: string
  ending: string
}

/** Characters in one line; a file without line breaks must not fill the memory. */
export const LINE_CHARS_MAX = 1 << 20

/** Splits a stream of text or UTF-8 bytes into lines, keeping their endings; memory is bounded by one chunk and one line. */
export async function* linesOf(input: AsyncIterable<string | Uint8Array>, name: string): AsyncGenerator<TextLine> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of input) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true })
    let start = 0
    for (let end = rest.indexOf('\n'); end !== -1; end = rest.indexOf('\n', start)) {
      yield lineOf(rest.slice(start, end + 1))
      start = end + 1
    }
    rest = rest.slice(start)
    if (rest.length > LINE_CHARS_MAX) {
      throw new InvalidInputError(`${name}: a line is longer than ${LINE_CHARS_MAX} characters`, {
        remedy: 'Give a CSV file with one row a line.',
      })
    }
  }
  rest += decoder.decode()
  if (rest !== '') yield { text: rest, ending: '' }
}

function lineOf(line: string): TextLine {
  const ending = line.endsWith('\r\n') ? '\r\n' : '\n'
  return { text: line.slice(0, -ending.length), ending }
}

/** The cells of a line (RFC 4180 §2): quoted cells may hold the separator and doubled quotes, but no line break. */
export function cellsOf(text: string, separator: string): string[] {
  if (!text.includes('"')) return text.split(separator)
  const cells: string[] = []
  let cell = ''
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i)
    if (quoted && char === '"' && text.charAt(i + 1) === '"') {
      cell += '"'
      i++
    } else if (char === '"') quoted = !quoted
    else if (char === separator && !quoted) {
      cells.push(cell)
      cell = ''
    } else cell += char
  }
  return [...cells, cell]
}
