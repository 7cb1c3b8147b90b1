const TICK_MS = 1_000

/** The time, once a second: for ages such as "12 s ago". */
class Now {
  ms = $state(Date.now())

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.ms = Date.now()
    }, TICK_MS)
  }
}

export const now = new Now()
