import type { OperatorOutput } from '../../contracts/operator.ts'
import type { LoggedReading, MetricValue } from '../../contracts/reading.ts'
import type { LateReading, WindowResult } from '../../contracts/window.ts'
import { Metrics } from '../../kernel/metrics.ts'
import { compileSchema } from '../../kernel/schema.ts'
import { WindowsConfigSchema, type WindowsConfig } from './config.ts'
import { WindowOperator } from './window-operator.ts'

const checkConfig = compileSchema(WindowsConfigSchema)

/** The default settings with some changed. */
export function windowsConfig(changes: Partial<WindowsConfig> = {}): WindowsConfig {
  const result = checkConfig({ ...changes })
  if (result.status === 'invalid') throw new Error(JSON.stringify(result.faults))
  return result.value
}

export function windowOperator(changes: Partial<WindowsConfig> = {}): WindowOperator {
  return new WindowOperator({ config: windowsConfig(changes), metrics: new Metrics() })
}

/** Gathers what an operator emits. */
export class Collected implements OperatorOutput {
  readonly windows: WindowResult[] = []
  readonly late: LateReading[] = []

  emit(topic: string, _schema: string, _tenant: string, _device: string, value: object): void {
    if (topic === 'late') this.late.push(value as LateReading)
    else this.windows.push(value as WindowResult)
  }
  /** The last revision of each window, by id. */
  final(): Map<string, WindowResult> {
    return new Map(this.windows.map((window) => [window.id, window]))
  }
}

let offset = 0
export function reading(ts: number, values: Record<string, MetricValue>): LoggedReading {
  return {
    tenant: 'default',
    device: 'pump-1',
    type: 'generic',
    receivedAt: ts + 5,
    correlationId: 'c',
    ts,
    values,
    partition: 0,
    offset: offset++,
  }
}
