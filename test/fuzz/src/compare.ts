import type { ForeignDatabase } from './database.js';
import { Discrepancy } from './discrepancy.js';
import type { Replica, Replicas } from './replicas.js';
import type { Script } from './script.js';

/** Rows of a difference that are shown. */
const SHOWN = 6;

/**
 * Throws a Discrepancy when two databases that must be alike are not. `thoroughly`: also by
 * SQLite's own checks.
 */
export function compare(
  replicas: Replicas,
  plain: ForeignDatabase | undefined,
  script: Script,
  how: 'quickly' | 'thoroughly',
): void {
  const [first, second] = [replicas.get('a'), replicas.get('b')];
  for (const table of replicas.tables) {
    const rows = first.foreign.rows(table);
    if (plain !== undefined) same('source', `table ${table}, plain and source`, plain.rows(table), rows);
    same('rows', `table ${table}, a and b`, rows, second.foreign.rows(table));
  }
  for (const { name, foreign } of [first, second])
    if (foreign.count('_antiphon_outbox') > 0)
      throw new Discrepancy('outbox', `that of ${name} is not empty`);
  if (script.rowVersions) compareVersions(first, second, script);
  if (how === 'quickly') return;
  for (const { name, foreign } of [first, second]) {
    const found = foreign.integrity();
    if (found !== 'ok' && found !== plain?.integrity())
      throw new Discrepancy('integrity', `${name}: ${found}`);
  }
  if (!replicas.areAllReplicated) return;
  const orphans = first.foreign.orphans();
  if (second.foreign.orphans() !== orphans || (plain !== undefined && plain.orphans() !== orphans))
    throw new Discrepancy('foreign keys', `orphans differ:\n${orphans}\n--\n${second.foreign.orphans()}`);
}

function compareVersions(first: Replica, second: Replica, { writers }: Script): void {
  for (const pattern of ['_antiphon_v[0-9]*', '_antiphon_d[0-9]*']) {
    for (const table of first.foreign.tables(pattern))
      same('versions', `table ${table}, a and b`, first.foreign.rows(table), second.foreign.rows(table));
  }
  if (writers === 2) return;
  for (const table of first.foreign.tables('_antiphon_d[0-9]*'))
    if (second.foreign.count(table) > 0)
      throw new Discrepancy('hidden', `rows in ${table}, though one replica writes`);
}

export function same(
  kind: string,
  what: string,
  expected: readonly string[],
  found: readonly string[],
): void {
  if (expected.length === found.length && expected.every((row, index) => row === found[index])) return;
  const missing = expected.filter((row) => !found.includes(row)).slice(0, SHOWN);
  const extra = found.filter((row) => !expected.includes(row)).slice(0, SHOWN);
  throw new Discrepancy(
    kind,
    [what, ...missing.map((row) => `  - ${row}`), ...extra.map((row) => `  + ${row}`)].join('\n'),
  );
}
