export type Grade = 'ok' | 'warn' | 'fail';

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  readonly grade: Grade;
  readonly message: string;
  /** What to do; always there when it is not ok. */
  readonly advice?: string;
}

export function ok(name: string, message: string): Check {
  return { name, grade: 'ok', message };
}

export function warn(name: string, message: string, advice: string): Check {
  return { name, grade: 'warn', message, advice };
}

export function fail(name: string, message: string, advice: string): Check {
  return { name, grade: 'fail', message, advice };
}

/** For a text that ends with what to do. */
export function splitLast(text: string): { readonly message: string; readonly advice: string } {
  const start = text.trimEnd().search(/[^.]*(\.\w[^.]*)*\.?$/);
  return start <= 0
    ? { message: text, advice: 'See docs/cli.md, doctor.' }
    : { message: text.slice(0, start).trim(), advice: text.slice(start).trim() };
}

/**
 * The sentences of the libraries say what is wrong first, and what to do last; `otherwise` is for
 * one that says nothing of it.
 */
export function splitSentence(
  text: string,
  otherwise = 'See docs/cli.md, doctor.',
): { readonly message: string; readonly advice: string } {
  const end = text.search(/[.] (?=[A-Z`])/);
  if (end < 0) return { message: text, advice: otherwise };
  return { message: text.slice(0, end + 1), advice: text.slice(end + 2) };
}
