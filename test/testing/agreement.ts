const pairs = (count: number): number => (count * (count - 1)) / 2

/** How far two partitions of the same things agree: F1 over pairs that are together, and the adjusted Rand index (Hubert and Arabie 1985). */
export function agreement(truth: readonly string[], found: readonly string[]): { f1: number; rand: number } {
  const count = (keys: readonly string[]): number[] => {
    const sizes = new Map<string, number>()
    for (const key of keys) sizes.set(key, (sizes.get(key) ?? 0) + 1)
    return [...sizes.values()]
  }
  const sum = (sizes: readonly number[]): number => sizes.reduce((all, size) => all + pairs(size), 0)
  const both = sum(count(truth.map((one, index) => JSON.stringify([one, found[index]]))))
  const [ofTruth, ofFound] = [sum(count(truth)), sum(count(found))]
  const byChance = (ofTruth * ofFound) / pairs(truth.length)
  const most = (ofTruth + ofFound) / 2
  return {
    f1: ofTruth + ofFound === 0 ? 1 : (2 * both) / (ofTruth + ofFound),
    rand: most === byChance ? 1 : (both - byChance) / (most - byChance),
  }
}
