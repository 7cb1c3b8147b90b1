import { Checkpoints } from '../../device-registry/audit/checkpoints.ts'
import { StatementKey } from '../../device-registry/audit/statement-key.ts'
import { Trail } from '../../device-registry/audit/trail.ts'
import { Registry } from '../../device-registry/registry.ts'
import { openDocuments, openEventLog } from '../engines.ts'
import { keySealer } from '../key-sealer.ts'
import { TARGETS } from '../targets.ts'
import type { ModuleTable } from '../module.ts'
import { STORES } from './stores.ts'

/** Where everything is kept, what is kept of every act, and the registry of devices. */
export const STORE_MODULES = {
  documents: {
    targets: [],
    needs: [],
    build: (context) => openDocuments(context.config, context),
  },
  eventLog: {
    targets: [],
    needs: [],
    build: (context) => openEventLog(context.config, context),
  },
  auditTrail: {
    targets: TARGETS,
    needs: ['documents'],
    build: (context, parts) => new Trail({ ...context, ...parts, auditConfig: context.config.audit }),
  },
  statementKey: {
    targets: ['registry'],
    // After the authority: the passphrase that its keys are encrypted with is there, or its absence was told.
    needs: ['documents', 'authority'],
    build: (context, parts) => new StatementKey({ ...context, ...parts, keySealer: keySealer(context) }),
  },
  auditCheckpoints: {
    targets: ['registry'],
    needs: ['documents', 'auditTrail', 'statementKey'],
    build: (context, parts) =>
      new Checkpoints({ ...context, ...parts, signer: parts.statementKey, trail: parts.auditTrail, auditConfig: context.config.audit }),
  },
  registry: {
    targets: ['registry'],
    needs: [...STORES, 'auditTrail'],
    build: (context, parts) => new Registry({ ...context, ...parts, registryConfig: context.config.registry }),
  },
} satisfies Partial<ModuleTable>
