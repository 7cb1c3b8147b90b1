/** The straight line through points, by least squares: how steep it is, and its standard error. NaN of fewer than three points. */
export function slopeOf(points: readonly { x: number; y: number }[]): { slope: number; error: number } {
  const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const [x, y] = [mean(points.map((point) => point.x)), mean(points.map((point) => point.y))]
  const spread = points.reduce((sum, point) => sum + (point.x - x) ** 2, 0)
  const slope = points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0) / spread
  const rest = points.reduce((sum, point) => sum + (point.y - y - slope * (point.x - x)) ** 2, 0)
  return points.length < 3 ? { slope: NaN, error: NaN } : { slope, error: Math.sqrt(rest / (points.length - 2) / spread) }
}
