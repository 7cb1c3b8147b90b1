/** Controls, formats (bidirectional, zero-width, tags), separators of lines, half pairs, private and unassigned characters; not the end of a line. */
const UNSEEN = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/gu

/** Text of somebody else, in which nothing is hidden: what would not be seen, or would turn what is around it, is shown as a mark. */
export function plain(text: string): string {
  return text.replaceAll('\r\n', '\n').replace(UNSEEN, '\ufffd')
}
