import type { AuditedAct, AuditTrail } from '../../contracts/audit.ts'

/** Keeps what was recorded. */
export class AuditDouble implements AuditTrail {
  readonly acts: AuditedAct[] = []

  record(act: AuditedAct): Promise<void> {
    this.acts.push(act)
    return Promise.resolve()
  }

  /** Actions recorded about a device, certificate or CA, oldest first. */
  actionsOn(id: string): string[] {
    return this.acts.filter(({ subject, device }) => subject.id === id || device === id).map(({ action }) => action)
  }
}
