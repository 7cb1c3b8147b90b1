import type { VIOLATIONS } from '../violations.ts'

/** One thing that happens on the wire: the device sends, the device must receive, or somebody else publishes to it. */
export type Step =
  | { readonly send: Buffer }
  | { readonly receive: Buffer }
  | { readonly deliver: { readonly topic: string; readonly qos: 0 | 1 | 2; readonly payload: string; readonly dup?: boolean } }

export type ViolationName = keyof typeof VIOLATIONS

/** A conversation and how it must end. */
export interface GoldenCase {
  readonly name: string
  /** Whether a good CONNECT (and its CONNACK) comes before the steps: of 3.1.1 with clean session, of 3.1, or none. */
  readonly hello: 'none' | 'clean' | 'level 3'
  readonly steps: readonly Step[]
  /** `open`: a ping is answered after the steps; a name: the check closes for this; `gone`: closed without a violation. */
  readonly then: 'open' | 'gone' | ViolationName
}

/** A case in which the device sends one thing after a good CONNECT. */
export function sent(name: string, bytes: Buffer, then: GoldenCase['then'], ...replies: readonly Buffer[]): GoldenCase {
  return { name, hello: 'clean', steps: [{ send: bytes }, ...replies.map((receive) => ({ receive }))], then }
}

/** A case in which the device sends one thing first of all. */
export function first(name: string, bytes: Buffer, then: GoldenCase['then'], ...replies: readonly Buffer[]): GoldenCase {
  return { ...sent(name, bytes, then, ...replies), hello: 'none' }
}
