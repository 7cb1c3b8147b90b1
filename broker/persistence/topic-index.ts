/**
 * Values by MQTT topic filter. Filters without wildcards sit in a map; those with wildcards in small lists, one per first three literal
 * levels (`tenant/devices/id`): a device's filters never slow down another device's topics.
 */
export class TopicIndex<V> {
  readonly #exact = new Map<string, V[]>()
  readonly #wildByPrefix = new Map<string, { filter: string; value: V }[]>()
  readonly #wild: { filter: string; value: V }[] = []

  add(filter: string, value: V): void {
    if (!hasWildcard(filter)) {
      const values = this.#exact.get(filter)
      if (values === undefined) this.#exact.set(filter, [value])
      else values.push(value)
      return
    }
    const prefix = literalPrefix(filter)
    if (prefix === undefined) {
      this.#wild.push({ filter, value })
      return
    }
    const entries = this.#wildByPrefix.get(prefix)
    if (entries === undefined) this.#wildByPrefix.set(prefix, [{ filter, value }])
    else entries.push({ filter, value })
  }

  /** Removes the first value under this filter for which `is` holds; false when there was none. */
  remove(filter: string, is: (value: V) => boolean): boolean {
    if (!hasWildcard(filter)) {
      const values = this.#exact.get(filter)
      const at = values?.findIndex(is) ?? -1
      if (values === undefined || at < 0) return false
      values.splice(at, 1)
      if (values.length === 0) this.#exact.delete(filter)
      return true
    }
    const prefix = literalPrefix(filter)
    const entries = prefix === undefined ? this.#wild : this.#wildByPrefix.get(prefix)
    const at = entries?.findIndex((entry) => entry.filter === filter && is(entry.value)) ?? -1
    if (entries === undefined || at < 0) return false
    entries.splice(at, 1)
    if (prefix !== undefined && entries.length === 0) this.#wildByPrefix.delete(prefix)
    return true
  }

  /** Is there a filter that matches? */
  matches(topic: string): boolean {
    if (this.#exact.has(topic) || this.#wild.some(({ filter }) => topicMatches(filter, topic))) return true
    const prefix = this.#wildByPrefix.size === 0 ? undefined : topicPrefix(topic)
    const entries = prefix === undefined ? undefined : this.#wildByPrefix.get(prefix)
    return entries?.some(({ filter }) => topicMatches(filter, topic)) === true
  }

  /** The values of every filter that matches: wildcards first, then the literal one. */
  match(topic: string): V[] {
    const values: V[] = []
    for (const entry of this.#wild) if (topicMatches(entry.filter, topic)) values.push(entry.value)
    const prefix = this.#wildByPrefix.size === 0 ? undefined : topicPrefix(topic)
    const entries = prefix === undefined ? undefined : this.#wildByPrefix.get(prefix)
    if (entries !== undefined) for (const entry of entries) if (topicMatches(entry.filter, topic)) values.push(entry.value)
    const exact = this.#exact.get(topic)
    if (exact !== undefined) values.push(...exact)
    return values
  }
}

export function hasWildcard(filter: string): boolean {
  return filter.includes('+') || filter.includes('#')
}

/** The first three levels of a topic, or undefined when it has fewer. */
export function topicPrefix(topic: string): string | undefined {
  let slash = -1
  for (let level = 0; level < PREFIX_LEVELS; level++) {
    slash = topic.indexOf('/', slash + 1)
    if (slash < 0) return level === PREFIX_LEVELS - 1 ? topic : undefined
  }
  return topic.slice(0, slash)
}

const PREFIX_LEVELS = 3

/** The first three levels of a filter when they are literal: what every topic it matches begins with. */
export function literalPrefix(filter: string): string | undefined {
  const prefix = topicPrefix(filter)
  return prefix === undefined || hasWildcard(prefix) ? undefined : prefix
}

/**
 * Does a topic match a filter? `#` also matches the level above it [MQTT-4.7.1-2], `+` an empty level [MQTT-4.7.1-3], and neither of
 * them, at the start, a topic that begins with `$` [MQTT-4.7.2-1].
 */
export function topicMatches(filter: string, topic: string): boolean {
  const first = filter.charCodeAt(0)
  if (first === HASH || first === PLUS) {
    if (topic.charCodeAt(0) === DOLLAR) return false
  } else if (first !== topic.charCodeAt(0)) return false
  let f = 0
  let t = 0
  for (;;) {
    if (filter.charCodeAt(f) === HASH) return true
    const fEnd = endOfLevel(filter, f)
    const tEnd = endOfLevel(topic, t)
    const isPlus = fEnd === f + 1 && filter.charCodeAt(f) === PLUS
    if (!isPlus && (fEnd - f !== tEnd - t || filter.slice(f, fEnd) !== topic.slice(t, tEnd))) return false
    if (tEnd === topic.length) return fEnd === filter.length || (filter.charCodeAt(fEnd + 1) === HASH && fEnd + 2 === filter.length)
    if (fEnd === filter.length) return false
    f = fEnd + 1
    t = tEnd + 1
  }
}

const HASH = 35
const DOLLAR = 36
const PLUS = 43

function endOfLevel(text: string, from: number): number {
  const slash = text.indexOf('/', from)
  return slash < 0 ? text.length : slash
}
