/** A connection string as it may be shown: without password, and without options, which may hold more secrets. */
export function shownAddress(url: string): string {
  return url
    .replace(/[?].*$/s, '')
    .replace(/^([a-z+]+:\/\/)([^:@/]*):.*@/s, '$1$2:[masked]@')
    .replace(/\/+$/, '')
}
