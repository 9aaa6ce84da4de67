/** Numbers and times for people. Everything that moves has one width: the styles see to figures. */

const WHOLE = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const TENTHS = new Intl.NumberFormat('en-US', { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export function whole(value: number): string {
  return WHOLE.format(value);
}

/** `1 entry`, `2 entries`. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${whole(count)} ${count === 1 ? one : many}`;
}

/** Of something that was measured, in milliseconds. */
export function measured(ms: number): string {
  if (ms < 10) return `${ms.toFixed(ms < 1 ? 2 : 1)} ms`;
  return ms < 1000 ? `${whole(ms)} ms` : `${TENTHS.format(ms / 1000)} s`;
}

/** How long something lasts, in words of one unit. */
export function lasting(ms: number): string {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 10) return `${TENTHS.format(seconds)} s`;
  if (seconds < 120) return `${whole(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

export function bytes(count: number): string {
  if (count < 1000) return `${whole(count)} B`;
  if (count < 1_000_000) return `${TENTHS.format(count / 1000)} kB`;
  return `${TENTHS.format(count / 1_000_000)} MB`;
}

export function perSecond(rate: number): string {
  return `${rate < 10 && rate > 0 ? TENTHS.format(rate) : whole(rate)}/s`;
}

/** On an axis: as short as it can be. */
export function short(value: number): string {
  if (Math.abs(value) < 1000) return `${Math.round(value * 100) / 100}`;
  if (Math.abs(value) < 1_000_000) return `${Math.round(value / 100) / 10}k`;
  return `${Math.round(value / 100_000) / 10}M`;
}

export function timeOfDay(atMs: number): string {
  return new Date(atMs).toLocaleTimeString('en-GB');
}

export function dateAndTime(atMs: number): string {
  const date = new Date(atMs);
  return `${date.toLocaleDateString('en-CA')} ${date.toLocaleTimeString('en-GB')}`;
}

/** With a full stop at its end. */
export function sentence(text: string): string {
  return /[.!?…]$/.test(text.trim()) ? text.trim() : `${text.trim()}.`;
}
