/** The chart's colours, from the page's custom properties: a canvas cannot use those by itself. */
export interface Theme {
  line: string
  envelope: string
  band: string
  bandEdge: string
  alert: string
  alertEdge: string
  grid: string
  text: string
  font: string
}

export function readTheme(): Theme {
  const style = getComputedStyle(document.documentElement)
  const of = (name: string): string => style.getPropertyValue(name).trim()
  return {
    line: of('--chart-line'),
    envelope: of('--chart-envelope'),
    band: of('--chart-band'),
    bandEdge: of('--chart-band-edge'),
    alert: of('--chart-alert'),
    alertEdge: of('--chart-alert-edge'),
    grid: of('--chart-grid'),
    text: of('--muted'),
    font: `12px ${of('--font')}`,
  }
}

/** Calls back when the system switches between light and dark; returns the way to stop. */
export function onSchemeChange(listener: () => void): () => void {
  const query = matchMedia('(prefers-color-scheme: dark)')
  query.addEventListener('change', listener)
  return () => query.removeEventListener('change', listener)
}
