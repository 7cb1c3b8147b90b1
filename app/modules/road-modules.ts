import { AnomalyArchive } from '../../anomaly/anomaly-archive.ts'
import { AnomalyOperator } from '../../anomaly/anomaly-operator.ts'
import { CorrelationOperator } from '../../anomaly/joint/correlation-operator.ts'
import { AppliedPolicies } from '../../anomaly/policies/applied-policies.ts'
import { eraseTraces } from '../../anomaly/erasing.ts'
import { Policies } from '../../anomaly/policies/policies.ts'
import { PolicyDesk } from '../../anomaly/policies/policy-desk.ts'
import { PeerOperator } from '../../anomaly/peers/peer-operator.ts'
import { SettingsTogether } from '../../anomaly/settings/settings-together.ts'
import { AppliedFeedback } from '../../anomaly/feedback/applied-feedback.ts'
import { FeedbackService } from '../../anomaly/feedback/feedback-service.ts'
import type { ReadingOperator } from '../../contracts/operator.ts'
import { ModelOperator } from '../../anomaly/models/model-operator.ts'
import { Decommission } from '../../device-registry/decommission/decommission.ts'
import { DecommissionWork } from '../../device-registry/decommission/decommission-work.ts'
import type { ProcessingConfig } from '../../processing/config.ts'
import { ReadingsWorker } from '../../processing/readings-worker.ts'
import { RuleOperator } from '../../processing/rules/rule-operator.ts'
import { Rules } from '../../processing/rules/rules.ts'
import { WindowOperator } from '../../processing/windows/window-operator.ts'
import { DeviceCredentials } from '../../provisioning/device-credentials.ts'
import { openSeries } from '../engines.ts'
import type { Config } from '../config-sections.ts'
import { type Target } from '../targets.ts'
import type { BuildContext, ModuleTable, Parts } from '../module.ts'
import { STORES } from './stores.ts'

/** From the log to the store: windows, anomalies, and the end of a device. */
export const ROAD_MODULES = {
  series: {
    targets: [],
    needs: [],
    build: (context) => openSeries(context.config, context),
  },
  decommission: {
    targets: [],
    needs: ['documents', 'registry'],
    build: (context, parts) => new Decommission({ ...context, ...parts, decommissionConfig: context.config.decommission }),
  },
  decommissionWork: {
    targets: ['registry'],
    needs: [...STORES, 'series', 'auditTrail', 'statementKey', 'registry', 'certificates', 'enrolmentTokens'],
    build: (context, parts) => {
      const credentials = new DeviceCredentials({ ...context, ...parts })
      const config = context.config.decommission
      const traces = { erase: async (tenant: string, device: string) => ({ ...(await eraseTraces(parts.documents, tenant, device)) }) }
      return new DecommissionWork({ ...context, ...parts, credentials, signer: parts.statementKey, decommissionConfig: config, traces })
    },
  },
  rules: {
    targets: ['processing'],
    needs: ['documents'],
    build: (context, parts) => new Rules({ ...context, ...parts, config: context.config.rules, windows: context.config.windows }),
  },
  appliedFeedback: {
    targets: [],
    needs: ['documents'],
    build: (context, parts) => new AppliedFeedback({ ...context, ...parts, config: context.config.anomaly }),
  },
  appliedPolicies: {
    targets: [],
    needs: ['documents'],
    build: (context, parts) => new AppliedPolicies({ ...context, ...parts, config: context.config.anomaly }),
  },
  policies: {
    targets: [],
    needs: ['documents'],
    build: (context, parts) => new PolicyDesk({ ...context, ...parts, config: context.config.anomaly }),
  },
  readings: {
    targets: ['processing', 'anomaly'],
    needs: [...STORES, 'series', 'registryView', 'rules', 'appliedFeedback', 'appliedPolicies'],
    build: (context, parts) => {
      const runs = (target: Target): boolean => context.targets.includes(target)
      const windows = runs('processing') ? windowsAndRules(context, parts) : []
      const { anomaly: config } = context.config
      const policies = policiesOf(context, parts)
      const anomalies = runs('anomaly') ? detectors(context, parts, policies) : []
      // Ready before: it stands in front of the road in the table, wherever the target runs.
      const { modelServing, peers } = parts as Partial<Parts>
      const models = modelServing === undefined ? [] : [new ModelOperator({ ...context, config, policies, served: modelServing.served })]
      const group = runs('processing') ? 'processing' : 'anomaly'
      return new ReadingsWorker({
        ...context,
        ...parts,
        config: processingConfig(context.config),
        group,
        operators: [...windows, ...anomalies, ...models],
        ...(runs('anomaly')
          ? { settings: new SettingsTogether([parts.appliedFeedback, parts.appliedPolicies, ...(peers === undefined ? [] : [peers])]) }
          : {}),
      })
    },
  },
  anomalyArchive: {
    targets: ['anomaly'],
    needs: STORES,
    build: (context, parts) =>
      new AnomalyArchive({
        ...context,
        ...parts,
        anomaliesMax: context.config.platform.anomaliesMax,
        works: context.targets.includes('anomaly'),
      }),
  },
  feedback: {
    targets: [],
    needs: [...STORES, 'series', 'registry', 'anomalyArchive', 'policies'],
    build: (context, parts) =>
      new FeedbackService({
        ...context,
        ...parts,
        config: context.config.anomaly,
        anomalies: parts.anomalyArchive,
        devices: {
          typeOf: async (tenant, device) => (await parts.registry.getDevice(tenant, device)).type,
          ofType: (tenant, type, label, max) => parts.registry.idsOf(tenant, type, label, max),
          labelsOf: (tenant, device) => parts.registry.labelsOf(tenant, device),
        },
      }),
  },
} satisfies Partial<ModuleTable>

/** Rules judge what windows say, so they stand behind them. */
function windowsAndRules(
  context: BuildContext,
  { rules, registryView }: Pick<Parts, 'rules' | 'registryView'>,
): ReadingOperator<unknown>[] {
  const { rules: config, windows } = context.config
  const labelsOf = (tenant: string, device: string): Readonly<Record<string, string>> => registryView.labelsOf(tenant, device)
  return [
    new WindowOperator({ ...context, config: windows }),
    new RuleOperator({ ...context, rules: rules.view, labelsOf, config, windows }),
  ]
}

/** Longest wait of a row where the configuration leaves it to the store, in ms. */
const SERIES_FLUSH_MS = { duckdb: 100, questdb: 250 } as const

function processingConfig({ processing, platform }: Config): ProcessingConfig {
  return { ...processing, seriesFlushMs: processing.seriesFlushMs || SERIES_FLUSH_MS[platform.seriesEngine] }
}

/** What judges single metrics, and what judges those of a device together. */
function detectors(context: BuildContext, parts: Parts, policies: Policies): ReadingOperator<unknown>[] {
  const { anomaly: config } = context.config
  const silenceAfterMs = (tenant: string, type: string): number | null => parts.registryView.type(tenant, type)?.silenceAfterMs ?? null
  const single = new AnomalyOperator({ ...context, config, silenceAfterMs, policies, feedback: parts.appliedFeedback })
  const { anomalyMetrics } = single
  const { peers } = parts as Partial<Parts>
  return [
    single,
    ...(config.correlation ? [new CorrelationOperator({ config, policies, anomalyMetrics })] : []),
    ...(config.peers && peers !== undefined
      ? [new PeerOperator({ config, policies, peers, onFinished: peers.onFinished, anomalyMetrics })]
      : []),
  ]
}

/** Thresholds and impact: what people put, then what the configuration says. */
function policiesOf({ config }: BuildContext, { appliedPolicies, registryView }: Parts): Policies {
  return new Policies({
    config: config.anomaly,
    view: appliedPolicies,
    labelsOf: (tenant, device) => registryView.labelsOf(tenant, device),
  })
}
