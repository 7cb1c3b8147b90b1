import { Brains } from '../../agents/brains/brains.ts'
import type { ModuleTable } from '../module.ts'
import { OtlpExporter } from '../telemetry/otlp-exporter.ts'

/** The models that agents may ask, and, wherever alerts are, whether one of them takes nothing from us any more. */
export const BRAIN_MODULES = {
  spans: {
    targets: [],
    needs: [],
    build: (context) => new OtlpExporter({ ...context, config: context.config.telemetry }),
  },
  brains: {
    targets: [],
    needs: ['documents', 'spans'],
    build: (context, parts) => new Brains({ ...context, ...parts, config: context.config.brains }),
  },
} satisfies Partial<ModuleTable>
