import type { Logger } from '../../kernel/log.ts'
import type { Service } from '../../kernel/service.ts'
import type { Clock } from '../../kernel/time.ts'
import type { Documents } from '../../storage/documents/documents.ts'
import type { WindowsConfig } from '../windows/config.ts'
import type { RulesConfig } from './config.ts'
import { RulesService } from './rules-service.ts'
import { RulesView } from './rules-view.ts'

/** Threshold rules: what people set, and what the road is judged by. The documents must be started before it. */
export class Rules implements Service {
  readonly name = 'rules'
  readonly view: RulesView
  readonly service: RulesService

  constructor(options: { documents: Documents; clock: Clock; log: Logger; config: RulesConfig; windows: WindowsConfig }) {
    this.view = new RulesView(options)
    this.service = new RulesService({ ...options, view: this.view, windows: options.windows.windows })
  }

  start(): Promise<void> {
    return this.view.start()
  }
  stop(): Promise<void> {
    return this.view.stop()
  }
}
