/** `${INTERVAL:-0}` expands to text; a number written that way is still a number. */
export function fromText(value: unknown): unknown {
  return typeof value === 'string' && /^\d{1,15}$/.test(value) ? Number(value) : value;
}
