/**
 * A text of somebody else's, such as the message of a foreign error, as the end of a message of
 * ours: with a full stop, and with one only.
 */
export function sentence(text: string): string {
  return `${withoutStop(text)}${/[!?]\s*$/.test(text) ? '' : '.'}`;
}

/** A sentence as a clause, to be put into the middle of another one. */
export function withoutStop(text: string): string {
  return text.replace(/[.;\s]+$/, '');
}
