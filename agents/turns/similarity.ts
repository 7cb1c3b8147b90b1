/** How alike two texts are: words in any order (cosine of term counts), and runs of three words (Jaccard). Linear in their length. */
export interface Likeness {
  cosine: number
  shingles: number
}

/** Words looked at; longer texts are compared by their beginnings. */
const WORDS_MAX = 600
const RUN = 3

export function likeness(a: string, b: string): Likeness {
  const [wordsA, wordsB] = [words(a), words(b)]
  return { cosine: cosine(wordsA, wordsB), shingles: jaccard(runs(wordsA), runs(wordsB)) }
}

/** Said before, word for word or nearly. */
export function isRepeat(text: string, before: readonly string[], threshold: number): boolean {
  return before.some((other) => {
    const { cosine: words, shingles } = likeness(text, other)
    return words >= threshold || shingles >= threshold
  })
}

function words(text: string): string[] {
  const found =
    text
      .normalize('NFKC')
      .toLowerCase()
      .match(/[\p{L}\p{N}.]+/gu) ?? []
  return found.slice(0, WORDS_MAX)
}

function cosine(a: readonly string[], b: readonly string[]): number {
  const [countsA, countsB] = [counts(a), counts(b)]
  let dot = 0
  for (const [word, count] of countsA) dot += count * (countsB.get(word) ?? 0)
  const length = Math.sqrt(norm(countsA) * norm(countsB))
  return length === 0 ? 0 : dot / length
}

function counts(list: readonly string[]): Map<string, number> {
  const found = new Map<string, number>()
  for (const word of list) found.set(word, (found.get(word) ?? 0) + 1)
  return found
}

function norm(found: ReadonlyMap<string, number>): number {
  let sum = 0
  for (const count of found.values()) sum += count * count
  return sum
}

function runs(list: readonly string[]): Set<string> {
  const found = new Set<string>()
  for (let i = 0; i + RUN <= list.length; i++) found.add(list.slice(i, i + RUN).join(' '))
  return found
}

function jaccard(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let shared = 0
  for (const run of a) if (b.has(run)) shared++
  const all = a.size + b.size - shared
  return all === 0 ? 0 : shared / all
}
