import { CONNECT_CASES, LEVEL_3_CASES } from './golden-connect.ts'
import { FLOW_CASES } from './golden-flows.ts'
import type { GoldenCase } from './golden-case.ts'
import { FILTER_CASES, HEADER_CASES, PUBLISH_CASES, SMALL_PACKET_CASES } from './golden-packets.ts'
import { TEXT_CASES } from './golden-texts.ts'

/** Every case there is. */
export const GOLDEN_CASES: readonly GoldenCase[] = [
  ...CONNECT_CASES,
  ...LEVEL_3_CASES,
  ...HEADER_CASES,
  ...SMALL_PACKET_CASES,
  ...PUBLISH_CASES,
  ...FILTER_CASES,
  ...FLOW_CASES,
  ...TEXT_CASES,
]
