import { Command } from 'commander'
import { scoreDirectory } from '../anomaly/score-file.ts'
import { wholeNumber } from './options.ts'
import { progressBar } from './progress.ts'

interface ScoreOptions {
  in: string
  out: string
  trainRows?: number
  json?: boolean
}

export function scoreCommand(): Command {
  return new Command('score')
    .description('Run the online detector over CSV files, exactly as over live readings')
    .requiredOption('--in <dir>', 'folder of CSV files: timestamp,value or timestamp,metric1,metric2,…')
    .requiredOption('--out <dir>', 'folder for the same files with anomaly_score added')
    .option('--train-rows <n>', 'first rows of each file known to be normal: learnt, score 0', wholeNumber(0, 10_000_000))
    .option('--json', 'answer one line of JSON')
    .addHelpText('after', '\nExample:\n  fleetpulse score --in recordings --out scored\n')
    .action(score)
}

async function score(options: ScoreOptions): Promise<void> {
  const bar = progressBar(options.json !== true)
  try {
    const { files } = await scoreDirectory({
      inDir: options.in,
      outDir: options.out,
      ...(options.trainRows === undefined ? {} : { trainRows: options.trainRows }),
      onProgress: ({ file, filesDone, filesTotal }) => bar.update(file, filesDone, filesTotal),
    })
    bar.stop()
    process.stdout.write(options.json === true ? `${JSON.stringify({ files, out: options.out })}\n` : `${files} ${files === 1 ? 'file' : 'files'} scored into ${options.out}\n`)
  } finally {
    bar.stop()
  }
}
