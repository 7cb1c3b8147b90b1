/** Imports run one way: kernel < contracts < storage < stations < dashboard < app < simulators < cli. Stations never meet. */
const stations = ['broker', 'ingest', 'processing', 'anomaly', 'alerts', 'agents', 'device-registry', 'provisioning']
const above = (...folders) => `^(${folders.join('|')})/`
const notTest = '(\\.test|\\.contract|-testing)\\.ts$|/testing/'

module.exports = {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'kernel-imports-nothing', severity: 'error', from: { path: '^kernel/' }, to: { path: above('contracts', 'storage', ...stations, 'dashboard', 'app', 'simulators', 'cli') } },
    { name: 'contracts-import-kernel-only', severity: 'error', from: { path: '^contracts/' }, to: { path: above('storage', ...stations, 'dashboard', 'app', 'simulators', 'cli') } },
    { name: 'storage-imports-down', severity: 'error', from: { path: '^storage/' }, to: { path: above(...stations, 'dashboard', 'app', 'simulators', 'cli') } },
    { name: 'stations-import-down', severity: 'error', from: { path: above(...stations) }, to: { path: above('dashboard', 'app', 'simulators', 'cli') } },
    ...stations.map((station) => ({
      name: `${station}-meets-no-station`,
      severity: 'error',
      from: { path: `^${station}/` },
      to: { path: above(...stations.filter((other) => other !== station)) },
    })),
    { name: 'stations-know-no-engine', severity: 'error', from: { path: above(...stations, 'dashboard'), pathNot: notTest }, to: { path: '^storage/.*/(lmdb|duckdb|kafka|questdb|mongodb)-' } },
    // Every start reads every engine's configuration, and only one engine's client.
    { name: 'configs-load-no-client', severity: 'error', from: { path: 'config\\.ts$', pathNot: notTest }, to: { path: '^storage/(?!.*(-config|/config|-kinds)\\.ts$)', dependencyTypesNot: ['type-only'] } },
    { name: 'dashboard-imports-down', severity: 'error', from: { path: '^dashboard/' }, to: { path: above('app', 'simulators', 'cli') } },
    { name: 'app-imports-down', severity: 'error', from: { path: '^app/' }, to: { path: above('simulators', 'cli') } },
    { name: 'simulators-import-down', severity: 'error', from: { path: '^simulators/' }, to: { path: above('cli') } },
    { name: 'declared-dependencies-only', severity: 'error', from: { pathNot: notTest }, to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'unresolvable' ].filter((type) => type !== 'unresolvable') } },
  ],
  options: { tsPreCompilationDeps: true, tsConfig: { fileName: 'tsconfig.json' }, doNotFollow: { path: 'node_modules' }, exclude: { path: '^(dist|node_modules)/' } },
}
