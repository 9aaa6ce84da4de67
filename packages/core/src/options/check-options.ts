import { AntiphonError } from '../errors/antiphon-error.js';
import { isOptionKind, type OptionKind } from './option-kinds.js';
import { suggest } from './suggestion.js';

/**
 * Every name of an options type: one that is added there does not compile until it is added here.
 * With what it has to be, or `true` where its value is looked at elsewhere.
 */
export type OptionNames<T> = Readonly<Record<keyof T, true | OptionKind>>;

/**
 * JavaScript takes any name; one that is misspelt would be ignored, and less would be done than was
 * asked for. `signal` has to be an AbortSignal where there is one. `what` is called with them:
 * `createReplica()`. Throws BAD_OPTION.
 */
export function checkOptions(given: unknown, names: Readonly<Record<string, unknown>>, what: string): void {
  if (given === undefined) return;
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw bad(`The options of ${within(what)} are ${shownOption(given)}. Give an object, or leave them out.`);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    if (!Object.hasOwn(names, name))
      throw bad(`${what} has no option "${name}". ${suggest(name, Object.keys(names))}`);
    if (name === 'signal' && !isAbortSignal(value))
      throw bad(`\`signal\` of ${within(what)} is ${shownOption(value)}. Give an AbortSignal.`);
    const kind = names[name];
    if (isOptionKind(kind) && !kind.is(value))
      throw bad(`\`${name}\` of ${within(what)} is ${shownOption(value)}. Give ${kind.give}.`);
  }
}

/** The same, where an object has to be given, with these among its names. Throws BAD_OPTION. */
export function checkRequired(
  given: unknown,
  names: Readonly<Record<string, unknown>>,
  what: string,
  required: readonly string[],
): void {
  checkOptions(given ?? {}, names, what);
  const present = (given ?? {}) as Readonly<Record<string, unknown>>;
  const missing = required.filter((name) => present[name] === undefined || present[name] === null);
  if (missing.length > 0)
    throw bad(
      `${what} lacks ${missing.map((name) => `\`${name}\``).join(', ')}. Give ${missing.length === 1 ? 'it' : 'them'}.`,
    );
}

/** `A write has no option …`, and `The options of a write …`. */
function within(what: string): string {
  return what.startsWith('A ') ? `a ${what.slice(2)}` : what;
}

function isAbortSignal(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { aborted, addEventListener } = value as Partial<AbortSignal>;
  return typeof aborted === 'boolean' && typeof addEventListener === 'function';
}

/** For a message that refuses it: the text "5" is not to look like the number. */
export function shownOption(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'number') return String(value);
  return typeof value === 'bigint' ? `${value}n` : (JSON.stringify(value)?.slice(0, 80) ?? String(value));
}

function bad(message: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', message);
}
