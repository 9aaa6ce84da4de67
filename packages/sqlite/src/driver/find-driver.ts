import { createRequire } from 'node:module';
import { AntiphonError, checkOptions, OPTION, type OptionNames } from '@antiphon/core';
import type { Database } from './driver.js';
import { openWith, type SqliteModule } from './node-sqlite.js';
import type { OpenOptions } from './open-options.js';

export interface Driver {
  readonly name: 'node:sqlite' | '@photostructure/sqlite';
  open(file: string, options?: OpenOptions): Database;
}

/**
 * From this release on `node:sqlite` can do all that is needed; older ones warn when it is only
 * loaded.
 */
const BUILT_IN_SINCE = 24;

export type Candidate =
  { readonly driver: Driver } | { readonly name: Driver['name']; readonly lacks: string };

/** What a module cannot do that the store needs. */
function lackOf({ DatabaseSync }: SqliteModule): string | undefined {
  const database = new DatabaseSync(':memory:');
  try {
    if (typeof database.setAuthorizer !== 'function') return 'it has no authorizer';
    const statement = database.prepare(`SELECT 'a' || char(0) || 'b', 9223372036854775807`);
    if (typeof statement.setReturnArrays !== 'function') return 'it cannot return rows as arrays';
    statement.setReturnArrays(true);
    statement.setReadBigInts(true);
    const [text, integer] = statement.get() as unknown as readonly unknown[];
    if (text !== 'a\0b') return 'it ends text at its first NUL';
    return integer === 9_223_372_036_854_775_807n ? undefined : 'it rounds integers';
  } finally {
    database.close();
  }
}

/** Whether it binds all of a text, and refuses what it cannot bind. */
function bindsExactly({ DatabaseSync }: SqliteModule): boolean {
  const database = new DatabaseSync(':memory:');
  try {
    const statement = database.prepare('SELECT length(CAST(? AS BLOB)) AS bytes, ?');
    if (statement.get('a\0b', 1)?.['bytes'] !== 3) return false;
    for (const value of [undefined, {}]) {
      try {
        statement.get(1, value as unknown as null);
        return false;
      } catch {
        // As it should be.
      }
    }
    return true;
  } finally {
    database.close();
  }
}

function candidate(name: Driver['name'], load: () => SqliteModule | undefined): Candidate {
  let module: SqliteModule | undefined;
  try {
    module = load();
    if (module === undefined) return { name, lacks: 'this Node.js does not have it' };
    const lacks = lackOf(module);
    if (lacks !== undefined) return { name, lacks };
  } catch (thrown) {
    const missing = (thrown as { code?: unknown }).code === 'MODULE_NOT_FOUND';
    return { name, lacks: missing ? 'it is not installed' : `it does not load (${String(thrown)})` };
  }
  const loaded = module;
  const exact = bindsExactly(loaded);
  return { driver: { name, open: (file, options = {}) => openWith(loaded, exact, file, options) } };
}

/** Of the Node.js that runs this. */
export function builtIn(): Candidate {
  // Not an import: on a Node.js without it, loading this file would fail with an error that helps
  // nobody.
  return candidate('node:sqlite', () => process.getBuiltinModule?.('node:sqlite'));
}

/** The optional peer dependency. */
export function photostructure(): Candidate {
  const require = createRequire(import.meta.url);
  return candidate('@photostructure/sqlite', () => require('@photostructure/sqlite') as SqliteModule);
}

/**
 * The first that can do all that the store needs. STORE_FAILED says what to install when there is
 * none.
 */
export function chooseDriver(order: readonly (() => Candidate)[]): Driver {
  const lacking: string[] = [];
  for (const look of order) {
    const candidate = look();
    if ('driver' in candidate) return candidate.driver;
    lacking.push(`${candidate.name}: ${candidate.lacks}`);
  }
  throw new AntiphonError(
    'STORE_FAILED',
    `No SQLite driver works with Node.js ${process.versions.node} (${lacking.join('; ')}). ` +
      'Use Node.js 24.16 or newer, or run `npm install @photostructure/sqlite` (Node.js 22.19 or newer).',
  );
}

/** Throws BAD_OPTION. */
export function assertPath(file: unknown, what: string): void {
  if (typeof file === 'string') return;
  throw new AntiphonError('BAD_OPTION', `${what} needs the path of a database file.`);
}

let found: Driver | undefined;

/** The driver of this process. */
export function findDriver(): Driver {
  const major = Number(process.versions.node.split('.')[0]);
  found ??= chooseDriver(major >= BUILT_IN_SINCE ? [builtIn, photostructure] : [photostructure, builtIn]);
  return found;
}

const OPEN_OPTIONS: OptionNames<OpenOptions> = {
  readOnly: OPTION.flag,
  busyTimeoutMs: OPTION.milliseconds,
  julianDay: OPTION.callback,
  triggerDepth: OPTION.count,
};

/**
 * Opens a database file with the SQLite that replicas of this process use. In the process of a
 * replica, open its file with this only: a second SQLite library would drop its locks.
 *
 * @throws AntiphonError BAD_OPTION, STORE_FAILED when this Node.js has no SQLite that can be used
 */
export function openDatabase(file: string, options?: OpenOptions): Database {
  assertPath(file, 'openDatabase()');
  checkOptions(options, OPEN_OPTIONS, 'openDatabase()');
  return findDriver().open(file, options);
}
