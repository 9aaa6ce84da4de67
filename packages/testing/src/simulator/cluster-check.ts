import { keyText } from '../memory/store/key-order.js';
import { rowsOf, versionsOf } from '../memory/store/spaces.js';
import { checkDatabase, historyOf, type CheckContext } from './database-check.js';
import type { SimulatedNode } from './node.js';
import { tokensIn } from './tables.js';

/** What must be so when everything has healed and come to rest: all databases hold the same, and nothing is missing. */
export function checkCluster(nodes: readonly SimulatedNode[], context: CheckContext): void {
  for (const { id, database } of nodes) checkDatabase(id, database, context);
  checkSameTransactions(nodes, context);
  checkSameContent(nodes, context);
  checkNothingLost(context);
}

/** I2, I3: every transaction of the log, on every replica, once and unchanged. */
function checkSameTransactions(nodes: readonly SimulatedNode[], { log, violations }: CheckContext): void {
  const inLog = new Set(log.transactions.map(({ origin, counter, time }) => `${origin}:${counter}@${time}`));
  const digests = new Map<string, string>();
  for (const { id, database } of nodes) {
    const held = new Set<string>();
    for (const { origin, counter, time, digest } of historyOf(database)) {
      const name = `${origin}:${counter}@${time}`;
      held.add(name);
      if (!inLog.has(name)) violations.add('I3', id, `${name} is in its database and not in the log`);
      const known = digests.get(name) ?? digest;
      digests.set(name, known);
      if (known !== digest) violations.add('I4', id, `${name} is another transaction here than elsewhere`);
    }
    for (const name of inLog)
      if (!held.has(name)) violations.add('I2', id, `${name} is in the log and was not applied`);
  }
}

/** I4: the same rows, the same versions, the same rows kept aside. */
function checkSameContent([first, ...others]: readonly SimulatedNode[], { violations }: CheckContext): void {
  if (first === undefined) return;
  for (const table of first.database.tableNames()) {
    const expected = contentOf(first, table);
    for (const node of others) {
      const found = contentOf(node, table);
      for (const key of new Set([...expected.keys(), ...found.keys()])) {
        if (expected.get(key) === found.get(key)) continue;
        violations.add(
          'I4',
          node.id,
          `${table} differs from ${first.id}: ${found.get(key)} instead of ${expected.get(key)}`,
        );
      }
    }
  }
}

function contentOf({ database }: SimulatedNode, table: string): ReadonlyMap<string, string> {
  const content = new Map<string, string>();
  for (const [key, row] of database.entries(rowsOf(table))) content.set(`row ${key}`, keyText(row));
  for (const [key, { version, deleted, displaced }] of database.entries(versionsOf(table))) {
    const kept = displaced === undefined ? '' : keyText(displaced);
    content.set(
      `version ${key}`,
      `${version.origin}:${version.counter}@${version.time} ${deleted ? 'deleted' : kept}`,
    );
  }
  return content;
}

/** I3: every write that a database committed, and did not lose with its power, is in one transaction of the log. */
function checkNothingLost({ log, ledger, violations }: CheckContext): void {
  const carriers = new Map<string, Set<string>>();
  for (const { origin, counter, changes } of log.transactions) {
    for (const token of changes.flatMap(({ row, op }) => (op === 'delete' ? [] : tokensIn(row)))) {
      carriers.set(token, (carriers.get(token) ?? new Set()).add(`${origin}:${counter}`));
    }
  }
  for (const [token, { replica }] of ledger.tokens) {
    if (!carriers.has(token))
      violations.add('I3', replica, `the write ${token} was committed and is in no transaction of the log`);
  }
  for (const [token, ids] of carriers) {
    const [origin = ''] = token.split('#');
    if (ids.size > 1 && origin !== 'founding' && !ledger.repeatable.has(token))
      violations.add('I2', origin, `the write ${token} is in ${[...ids].join(' and ')}`);
  }
}
