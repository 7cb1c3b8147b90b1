/** Which evidence is open on the page. */
class OpenedEvidence {
  id = $state<string | undefined>(undefined)
  name = $state('')

  show(id: string, name: string): void {
    this.id = this.id === id ? undefined : id
    this.name = name
  }
  close(): void {
    this.id = undefined
  }
}

export const opened = new OpenedEvidence()
