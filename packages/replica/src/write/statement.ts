import {
  AntiphonError,
  checkOptions,
  isRecord,
  type OptionNames,
  type Parameter,
  Real,
  TaggedValue,
} from '@antiphon/core';

/** One statement of `execute`. */
export interface Statement {
  /** One SQL statement that reads or changes rows. */
  readonly sql: string;
  /**
   * What its placeholders stand for.
   * @defaultValue none
   */
  readonly params?: Params;
  /**
   * How many rows it has to change. Another number ends the transaction with UNEXPECTED_ROWS, and
   * nothing of it is kept: so a batch is written only where the rows are as its writer believes.
   * @defaultValue any number
   */
  readonly rows?: number;
}

/**
 * A list for `?` and `?1`, or an object for `:name`, `@name` and `$name`, without their first
 * characters.
 */
export type Params = readonly Parameter[] | Readonly<Record<string, Parameter>>;

/** What every store with SQL (`capabilities.sql`) gives to a transaction. */
export interface SqlTransaction {
  /** Runs one statement; `changes` is the number of rows that it changed. */
  run(sql: string, params?: Params): { readonly changes: number };
}

const MAX_STATEMENTS = 10_000;
const MAX_PARAMS = 32_766;

/** Throws BAD_OPTION. */
export function parseStatements(input: unknown): readonly Statement[] {
  if (!Array.isArray(input) || input.length === 0) throw bad('statements', 'a list of { sql, params }');
  if (input.length > MAX_STATEMENTS) throw bad('statements', `at most ${MAX_STATEMENTS} statements`);
  return input.map((item: unknown) => {
    if (!isRecord(item) || typeof item['sql'] !== 'string')
      throw bad('statements', 'a list of { sql, params }');
    const { sql, rows } = item;
    assertRows(rows);
    return { sql, params: parseParams(item['params']), ...(typeof rows === 'number' && { rows }) };
  });
}

const STATEMENT: OptionNames<Statement> = { sql: true, params: true, rows: true };

/**
 * What the caller of the library gives; values are looked at when they are bound. Throws
 * BAD_OPTION.
 */
export function assertStatements(input: unknown): void {
  if (!Array.isArray(input)) throw bad('statements', 'a list of { sql, params }');
  for (const item of input as readonly unknown[]) {
    if (typeof item === 'string') throw bad('statements', 'a list of { sql, params }');
    checkOptions(item, STATEMENT, 'A statement');
    if (!isRecord(item) || typeof item['sql'] !== 'string')
      throw bad('statements', 'a list of { sql, params }');
    assertRows(item['rows']);
  }
}

/** Throws BAD_OPTION. */
function assertRows(rows: unknown): void {
  if (rows === undefined || (Number.isSafeInteger(rows) && (rows as number) >= 0)) return;
  throw bad('rows', 'a whole number, 0 or more');
}

/** Throws BAD_OPTION. */
export function parseParams(input: unknown): Params {
  if (input === undefined || input === null) return [];
  if (Array.isArray(input) && input.length <= MAX_PARAMS) return input.map(parameterOf);
  const entries = isRecord(input) && !Array.isArray(input) ? Object.entries(input) : undefined;
  if (entries === undefined || entries.length > MAX_PARAMS) throw badParams();
  return Object.fromEntries(entries.map(([name, value]) => [name, parameterOf(value)]));
}

function parameterOf(input: unknown): Parameter {
  if (input === null || input instanceof Uint8Array || input instanceof TaggedValue) return input;
  if (input instanceof Real) return input;
  // A message has no classes.
  if (isRecord(input) && typeof input['real'] === 'number') return new Real(input['real']);
  if (!['boolean', 'number', 'bigint', 'string'].includes(typeof input)) throw badParams();
  return input as Parameter;
}

function badParams(): AntiphonError {
  const kinds = 'null, boolean, number, bigint, text, bytes, { real: number }';
  return bad('params', `a list or a map of at most ${MAX_PARAMS} values (${kinds})`);
}

export function bad(name: string, wanted: string): AntiphonError {
  return new AntiphonError('BAD_OPTION', `\`${name}\` is not valid. Give ${wanted}.`);
}

/**
 * How many rows each statement changed. The database's transaction ends with the first that fails.
 */
export function runStatements(tx: SqlTransaction, statements: readonly Statement[]): number[] {
  return statements.map(({ sql, params, rows }, index) => {
    const changes = Number(tx.run(sql, params ?? []).changes);
    if (rows !== undefined && changes !== rows) throw unexpectedRows(index, changes, rows);
    return changes;
  });
}

function unexpectedRows(index: number, changed: number, expected: number): AntiphonError {
  const message =
    `Statement ${index + 1} changed ${changed} rows, and is to change ${expected}. Nothing of its transaction was kept. ` +
    'Read the rows again, and decide anew.';
  return new AntiphonError('UNEXPECTED_ROWS', message, { context: { statement: index, changed, expected } });
}
