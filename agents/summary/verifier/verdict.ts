export const FAULT_CODES = [
  'bad_shape',
  'too_large',
  'unknown_id',
  'unknown_word',
  'not_plain',
  'no_figure',
  'no_direction',
  'wrong_direction',
  'wrong_figure',
  'wrong_subject',
  'wrong_value',
  'wrong_unit',
  'wrong_window',
  'wrong_kind',
  'wrong_time',
  'claims_differ',
  'citations_differ',
  'forged_evidence',
  'unsupported',
  'missing_fact',
  'unknown_cause',
  'raised_level',
  'weak_level',
  'wrong_runbook',
  'hidden_gap',
  'control',
] as const

/** One thing wrong. `detail` is a sentence of ours: never a part of what was checked, which may be hostile. */
export interface Fault {
  code: (typeof FAULT_CODES)[number]
  where: string
  detail: string
}

/** `unavailable`: a source could not be read, so nothing was verified; that is not publishable either. */
export type Verdict =
  | { status: 'verified'; claims: number; checkedBy: string }
  | { status: 'refused'; faults: Fault[]; checkedBy: string }
  | { status: 'unavailable'; reason: string; checkedBy: string }

export const VERIFIER = 'verifier@1'
