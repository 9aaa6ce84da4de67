import { AntiphonError } from '@antiphon/core';
import { NamedParameters, type Bindings, type SqliteValue } from './driver/driver.js';
import { shortened } from './errors.js';
import { bindParameter, type Parameters } from './values.js';

/**
 * A lexical element of SQL, as SQLite's tokenizer cuts it: comments and quoted text, whole words (a
 * `$` may stand inside one), and parameters. https://www.sqlite.org/lang_expr.html#varparam
 */
const ELEMENT =
  /--[^\n]*|\/\*[^]*?(?:\*\/|$)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\?\d*|[$@:#](?:[\w$\u0080-\uffff]|::)+|[\w\u0080-\uffff][\w$\u0080-\uffff]*|[^ \t\n\f\r\ufeff]/g;

/** SQLite refuses a higher number. */
const MAX_PARAMETER = 32_766;

/** What the driver does not tell about a statement that it has prepared. */
export interface StatementText {
  /**
   * By SQLite's number, from 1: `:name`, `?7` and the like, undefined for a bare `?` and for
   * numbers that are left out.
   */
  readonly parameters: readonly (string | undefined)[];
  /** One that only an object can give: `:name`, `@name` or `$name`. */
  readonly named: string | undefined;
  /** Whether one is written as `?7`. */
  readonly numbered: boolean;
  /**
   * False when something follows the statement: the driver would run the first and ignore the rest.
   */
  readonly single: boolean;
  /** In capitals; '' when there is none. */
  readonly firstWord: string;
}

export function readStatementText(sql: string): StatementText {
  if (typeof sql !== 'string') throw new AntiphonError('BAD_SQL', 'A statement must be a string of SQL.');
  if (sql.includes('\0'))
    throw new AntiphonError(
      'BAD_SQL',
      `A statement must not hold a NUL character. Statement: ${shortened(sql)}`,
    );
  const parameters: (string | undefined)[] = [];
  const elements = new Set<string>();
  let firstWord: string | undefined;
  let numbered = false;
  let ended = false;
  let single = true;
  for (const [element] of sql.matchAll(ELEMENT)) {
    if (element.startsWith('--') || (element.startsWith('/*') && element.length > 2)) continue;
    if (ended && element !== ';') single = false;
    if (element === ';' && firstWord !== undefined) ended = true;
    if (element === ';') continue;
    firstWord ??= element.toUpperCase();
    if (!/^(?:\?|[$@:#].)/.test(element)) continue;
    if (element === '?' || !elements.has(element)) addParameter(parameters, element);
    elements.add(element);
    numbered ||= /^\?\d/.test(element);
  }
  const named = parameters.find((name) => name !== undefined && !name.startsWith('?'));
  if (numbered && elements.has('?'))
    throw new AntiphonError(
      'BAD_SQL',
      `Parameters like ? and ?1 cannot be mixed. Number all of them, or none. Statement: ${shortened(sql)}`,
    );
  return { parameters, named, numbered, single, firstWord: firstWord ?? '' };
}

function addParameter(parameters: (string | undefined)[], element: string): void {
  if (element === '?') {
    parameters.push(undefined);
  } else if (element.startsWith('?')) {
    const number = Number(element.slice(1));
    if (number > MAX_PARAMETER) return;
    while (parameters.length < number) parameters.push(undefined);
    parameters[number - 1] ??= element;
  } else {
    parameters.push(element);
  }
}

/**
 * A user's parameters as the driver takes them. BAD_SQL when there are too few, too many or unnamed
 * ones. `bind`: another one where they are bound already, since a float without a fraction would
 * become an integer.
 */
export function orderParameters(
  text: StatementText,
  given: Parameters,
  sql: string,
  bind: (value: unknown) => SqliteValue = bindParameter,
): Bindings {
  const { parameters, named } = text;
  const fail = (what: string): AntiphonError =>
    new AntiphonError('BAD_SQL', `${what} Statement: ${shortened(sql)}`);
  if (Array.isArray(given)) {
    if (named !== undefined) throw fail(`The parameter ${named} has a name. Give an object with its value.`);
    if (given.length !== parameters.length)
      throw fail(
        `There are too ${given.length < parameters.length ? 'few' : 'many'} parameters: ${given.length} for ${parameters.length} places.`,
      );
    const values = given.map(bind);
    return text.numbered ? byFullName(parameters, values) : values;
  }
  if (typeof given !== 'object' || given === null)
    throw fail('Parameters are a list, or an object with a value for each name.');
  const byName = given as Readonly<Record<string, unknown>>;
  if (parameters.length === 0) {
    const [name] = Object.keys(byName);
    // Options that were given in the place of parameters would be ignored.
    if (name !== undefined) throw fail(`The statement has no parameters, and "${name}" was given.`);
    return [];
  }
  const values = parameters.map((name) => {
    if (name === undefined) throw fail('A parameter without a name (?) needs an array of values.');
    const key = name.slice(1);
    if (!Object.hasOwn(byName, key)) throw fail(`The parameter ${name} has no value.`);
    return bind(byName[key]);
  });
  return byFullName(parameters, values);
}

function byFullName(names: StatementText['parameters'], values: readonly SqliteValue[]): Bindings {
  const entries = names.flatMap((name, index) =>
    name === undefined ? [] : [[name, values[index] ?? null] as const],
  );
  return [new NamedParameters(Object.fromEntries(entries))];
}
