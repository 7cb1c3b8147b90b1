import type { ModuleTable, Parts } from './module.ts'
import { AGENT_MODULES } from './modules/agent-modules.ts'
import { BRAIN_MODULES } from './modules/brain-modules.ts'
import { EDGE_MODULES } from './modules/edge-modules.ts'
import { LEARNING_MODULES, MODEL_MODULES } from './modules/model-modules.ts'
import { API_MODULES, RESPONSE_MODULES } from './modules/response-modules.ts'
import { ROAD_MODULES } from './modules/road-modules.ts'
import { STORE_MODULES } from './modules/store-modules.ts'
import { TRUST_MODULES } from './modules/trust-modules.ts'
import { WATCH_MODULES } from './modules/watch-modules.ts'

/** Every module: where it runs, what it needs, how it is built. This is the only wiring there is. */
export const MODULES: ModuleTable = {
  ...STORE_MODULES,
  ...TRUST_MODULES,
  ...EDGE_MODULES,
  ...MODEL_MODULES,
  ...ROAD_MODULES,
  ...LEARNING_MODULES,
  ...BRAIN_MODULES,
  ...RESPONSE_MODULES,
  ...AGENT_MODULES,
  ...WATCH_MODULES,
  ...API_MODULES,
}

/** Modules in the order in which they start: the order of the table, which is the road's. */
export const START_ORDER = Object.keys(MODULES) as (keyof Parts)[]
