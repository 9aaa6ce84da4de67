import type { SqliteTransaction } from '@antiphon/sqlite';
import type { Random } from '@antiphon/testing';
import type { OrphansOfSqlite } from './orphans.js';
import { attempting } from './random-tables.js';
import { putRow } from './row-statements.js';
import { randomStatement, type Table } from './schema/index.js';
import { EVENTS } from './tables.js';

/**
 * One transaction of random statements; some of them may fail, and the rest counts. It writes a row
 * that carries `token` as well: whether it is committed is seen by that.
 */
export function chooseStatements(
  random: Random,
  tables: readonly Table[],
  [replica, number, token]: readonly [replica: string, number: number, token: string],
  orphans?: OrphansOfSqlite,
): (tx: SqliteTransaction) => void {
  const statements = Array.from({ length: random.int(1, 5) }, () => randomStatement(random, tables));
  return (tx) => {
    if (orphans === undefined) attempting((sql) => tx.run(sql), statements);
    else orphans.attempt(tx, statements, token);
    putRow(tx, EVENTS, [replica, BigInt(number), token]);
  };
}
