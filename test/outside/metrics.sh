# The metrics page by Prometheus' own lint.
linted() { curl -sSf --max-time 10 "$api/metrics" >"$work/metrics.txt" && promtool check metrics <"$work/metrics.txt"; }
check 'metrics pass promtool' linted
