import { InvalidInputError } from '../kernel/errors.ts'
import type { Detector } from './detector.ts'
import { EnsembleDetector } from './ensemble/ensemble-detector.ts'
import { CorrelationDetector } from './joint/correlation-detector.ts'
import { LabelDetector } from './label-detector.ts'
import { MEMBERS } from './ensemble/members.ts'
import { PEER_DETECTOR } from './peers/peer-explanation.ts'
import { NumericDetector } from './numeric-detector.ts'

/** A detector of numbers whose state is its own affair. */
export type AnyDetector = Detector<unknown, number>

/** Detectors of numeric series that can be named in a backtest: the ensemble, the fast tier, and each member alone. */
const DETECTORS: Readonly<Record<string, () => AnyDetector>> = {
  ensemble: () => new EnsembleDetector(),
  'robust-online': () => new NumericDetector(),
  ...Object.fromEntries(
    MEMBERS.map(({ member }) => {
      const name = member.name.replaceAll(' ', '-')
      return [name, () => new EnsembleDetector({ name, members: [{ member, weight: 1 }] })]
    }),
  ),
}

/** Those that judge on the road: the ensemble, its fast tier, words, metrics together, and devices among their peers. */
export function detectorVersions(): { name: string; version: number; warmUpReadings: number }[] {
  const inUse = [new EnsembleDetector(), new NumericDetector(), new LabelDetector(), new CorrelationDetector(), PEER_DETECTOR]
  return inUse.map(({ name, version, warmUpReadings }) => ({ name, version, warmUpReadings }))
}

/** The detector of a name, `name@version` or `name` for the version there is. Throws InvalidInputError on another name or version. */
export function detectorByVersion(text: string): AnyDetector {
  const [name = '', version] = text.split('@')
  const detector = Object.hasOwn(DETECTORS, name) ? DETECTORS[name]?.() : undefined
  if (detector === undefined) {
    throw new InvalidInputError(`there is no detector "${name}"`, { remedy: `Name one of: ${Object.keys(DETECTORS).join(', ')}.` })
  }
  if (version !== undefined && version !== String(detector.version)) {
    throw new InvalidInputError(`detector ${name} is of version ${detector.version}, not ${version}`, {
      remedy: `Name ${name}@${detector.version}, or run the release that had version ${version}.`,
    })
  }
  return detector
}
