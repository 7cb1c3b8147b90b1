/** Longest line of a stream, in characters: an event of a model is a few hundred. */
const LINE_LENGTH_MAX = 1_048_576

/** The data of each event of a stream of server-sent events (WHATWG HTML §9.2); events without data, comments and fields besides are skipped. */
export async function* serverSentData(response: Response): AsyncGenerator<string> {
  if (response.body === null) return
  const decoder = new TextDecoder()
  let rest = ''
  let data: string[] = []
  for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split(/\r\n|\n|\r(?!$)/)
    rest = lines.pop() ?? ''
    if (rest.length > LINE_LENGTH_MAX) throw new TypeError('a line of the stream is too long')
    for (const line of lines) {
      if (line.startsWith('data:')) data.push(line.slice(line.startsWith('data: ') ? 6 : 5))
      if (line !== '' || data.length === 0) continue
      yield data.join('\n')
      data = []
    }
  }
}
