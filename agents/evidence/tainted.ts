declare const taint: unique symbol

/**
 * Text that came from outside: a device, a certificate, a firmware note, a webhook, an operator. It may be stored, compared and, through
 * `displayText`, shown to people. What a model sees has no field of open text at all (`ModelView`), so the compiler keeps it out of there.
 */
export type Tainted = string & { readonly [taint]: true }

/** Marks text where it comes in. */
export function tainted(text: string): Tainted {
  return text as Tainted
}

/** Longest shown text in code points: a name is read, not studied. */
export const DISPLAY_LENGTH_MAX = 256

// ECMA-48 §5.4: control sequences, and strings that end with ST or BEL; first of all, because without their ESC they would look like text.
const ANSI =
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]|(?:\u001b[\]PX^_]|[\u0090\u0098\u009d-\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/gu
/** Controls, formats (bidi, zero-width, tag characters), separators of lines, private use, unassigned, half pairs, and what is ignored where it is shown. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}]/gu

/**
 * One line of plain text for people: NFKC, no control sequences, controls, bidirectional, zero-width or tag characters, at most
 * `lengthMax` code points. Inert only where it is shown as text: it may hold `<` and `&`.
 */
export function displayText(text: Tainted, lengthMax = DISPLAY_LENGTH_MAX): string {
  // Bounded before it is normalised: one code point can become eighteen.
  const bounded = text.slice(0, lengthMax * 4)
  const plain = bounded
    .replace(ANSI, '')
    .normalize('NFKC')
    .replace(/[\t\n\r]/gu, ' ')
    .replace(ANSI, '')
    .replace(UNSEEN, '')
    // What stood between two characters is gone: they may be one now.
    .normalize('NFKC')
    .replace(/ {2,}/gu, ' ')
    .trim()
  const points = Array.from(plain)
  return points.length <= lengthMax ? plain : `${points.slice(0, lengthMax - 1).join('')}…`
}
