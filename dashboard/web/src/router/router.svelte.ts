/** Where the page is: path and query, kept in step with the address bar. */
class Router {
  path = $state(location.pathname)
  query = $state.raw(new URLSearchParams(location.search))

  start(): void {
    addEventListener('popstate', () => this.#read())
    document.addEventListener('click', (event) => this.#click(event))
  }

  go(to: string, options: { replace?: boolean } = {}): void {
    const before = location.pathname
    history[options.replace === true ? 'replaceState' : 'pushState'](null, '', to)
    this.#read()
    if (location.pathname !== before) scrollTo(0, 0)
  }

  /** Changes parts of the query in place; an empty value removes its name. */
  set(changes: Record<string, string | undefined>): void {
    const query = new URLSearchParams(this.query)
    for (const [name, value] of Object.entries(changes)) {
      if (value === undefined || value === '') query.delete(name)
      else query.set(name, value)
    }
    const text = query.toString()
    this.go(this.path + (text === '' ? '' : `?${text}`), { replace: true })
  }

  #read(): void {
    this.path = location.pathname
    this.query = new URLSearchParams(location.search)
  }

  /** Plain clicks on links of this page stay in it; new tabs, downloads and other pages are the browser's. */
  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    const link = event.target instanceof Element ? event.target.closest('a') : null
    if (link === null || link.origin !== location.origin || link.target !== '' || link.hasAttribute('download') || link.hash !== '') return
    event.preventDefault()
    this.go(link.pathname + link.search)
  }
}

export const router = new Router()
