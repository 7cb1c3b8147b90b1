import { parseArgs } from 'node:util'
import { crashRounds } from '../test/testing/crash-rounds.ts'
import { complain, report } from './harness/figures.ts'

/*
 * kill -9 at random moments under load, ten times on one data folder; then every acknowledged reading is looked for through the API.
 * Options: --rounds 10, --devices 20, --rate 2000 (readings a second), --seed (printed; the same seed kills at the same moments).
 */

const BENCH = 'kill'

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '10' },
    devices: { type: 'string', default: '20' },
    rate: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(Math.floor(performance.timeOrigin) % 100_000) },
  },
})
const seed = Number(options.seed)
const { rounds, sent, acked, unackedAtKill, ledger, lost, duplicated, outOfOrder } = await crashRounds({
  rounds: Number(options.rounds),
  devices: Number(options.devices),
  ratePerS: Number(options.rate),
  seed,
})
const setting = { rounds, seed, sent, acked, unackedAtKill }
report({ bench: BENCH, figure: 'acknowledged readings lost', value: lost, unit: 'readings', ...setting })
report({ bench: BENCH, figure: 'readings stored twice', value: duplicated, unit: 'readings', ledger })
report({ bench: BENCH, figure: 'readings out of order', value: outOfOrder, unit: 'readings' })
if (lost + duplicated + outOfOrder > 0 || acked !== sent)
  complain(`after kill -9, seed ${seed}: lost ${lost}, twice ${duplicated}, out of order ${outOfOrder}, acknowledged ${acked} of ${sent}`)
