import { contentOf as exactContentOf, orphansOf } from './content.js';
import { checkDatabase, transactionOf, type CheckContext } from './database-check.js';
import type { SimulatedNode } from './node.js';
import { quoted, rowText, type SimulatedTable } from './table.js';
import { tokensIn } from './tables.js';

/**
 * What must be so when everything has healed and come to rest: all databases hold the same, and
 * nothing is missing.
 */
export function checkCluster(nodes: readonly SimulatedNode[], context: CheckContext): void {
  for (const { id, database } of nodes) checkDatabase(id, database, context);
  checkSameTransactions(nodes, context);
  checkSealed(context);
  checkSameContent(nodes, context);
  checkRandomTables(nodes, context);
  checkReferences(nodes, context);
  checkNothingLost(nodes, context);
  checkRescues(nodes, context);
}

function checkRandomTables([first, ...others]: readonly SimulatedNode[], context: CheckContext): void {
  if (first === undefined) return;
  for (const table of context.randomTables) {
    const expected = exactContentOf(first.database, table);
    for (const { id, database } of others) {
      for (const [kind, texts] of exactContentOf(database, table))
        for (const what of difference(expected.get(kind) ?? [], texts))
          context.violations.add('I4', id, `${kind} of ${table} differs from ${first.id}: ${what}`);
    }
  }
}

/**
 * Where every write keeps to foreign keys, certification keeps apart those that together would not.
 */
function checkReferences(
  nodes: readonly SimulatedNode[],
  { referencesHold, orphans, log, violations }: CheckContext,
): void {
  if (!referencesHold) return;
  const committed = new Set(
    log.transactions.flatMap(({ changes }) =>
      changes.flatMap(({ op, row }) => (op === 'delete' ? [] : tokensIn(row))),
    ),
  );
  const excused = orphans.of(committed);
  for (const { id, database } of nodes)
    for (const orphan of orphansOf(database))
      if (!excused.has(orphan)) violations.add('I8', id, `it has a row of ${orphan}`);
}

function difference(expected: readonly string[], found: readonly string[]): readonly string[] {
  const [there, here] = [new Set(expected), new Set(found)];
  return [
    ...expected.filter((text) => !here.has(text)).map((text) => `without ${text}`),
    ...found.filter((text) => !there.has(text)).map((text) => `with ${text}`),
  ];
}

/** I2, I3: every transaction of the log, on every replica. */
function checkSameTransactions(nodes: readonly SimulatedNode[], context: CheckContext): void {
  const { log, violations } = context;
  const inLog = new Set(log.transactions.map(({ origin, counter, time }) => `${origin}:${counter}@${time}`));
  for (const { id, database } of nodes) {
    const held = new Set<string>();
    for (const entry of database.history) {
      const time = entry.time ?? transactionOf(entry, context)?.time;
      if (time === undefined && log.isVoid(entry.origin, entry.counter)) continue;
      const name = `${entry.origin}:${entry.counter}@${time}`;
      held.add(name);
      if (!inLog.has(name)) violations.add('I3', id, `${name} is in its database and not in the log`);
    }
    for (const name of inLog)
      if (!held.has(name)) violations.add('I2', id, `${name} is in the log and was not applied`);
  }
}

/** I4: what a database sealed is what the log holds. */
function checkSealed({ log, ledger, violations }: CheckContext): void {
  for (const { origin, counter, time, changes, lost } of ledger.transactions) {
    const logged = log.transaction(origin, counter, time);
    if (logged === undefined || logged.rejected === true) continue;
    // Its number was used up by an empty one.
    if (lost === true && logged.changes.length === 0) continue;
    const texts = [changes, logged.changes].map((list) =>
      list.map(({ op, table, row, earlierUs }) => `${op} ${table} ${earlierUs} ${rowText(row)}`).join('\n'),
    );
    if (texts[0] !== texts[1])
      violations.add('I4', origin, `${origin}:${counter} is another transaction in the log than it sealed`);
  }
}

/** I4: the same rows, the same versions, the same rows kept aside. */
function checkSameContent(
  [first, ...others]: readonly SimulatedNode[],
  { tables, violations }: CheckContext,
): void {
  if (first === undefined) return;
  for (const table of tables) {
    const expected = contentOf(first, table);
    for (const node of others) {
      const found = contentOf(node, table);
      for (const key of new Set([...expected.keys(), ...found.keys()])) {
        if (expected.get(key) === found.get(key)) continue;
        const what = `${table.name} ${key} differs from ${first.id}: ${found.get(key)} instead of ${expected.get(key)}`;
        violations.add('I4', node.id, what);
      }
    }
  }
}

/**
 * Rows, versions with those of deleted rows, and rows that wait for a unique value: each as a text.
 */
function contentOf({ database }: SimulatedNode, { name, key }: SimulatedTable): ReadonlyMap<string, string> {
  const content = new Map<string, string>();
  const put = (kind: string, table: string, keys: readonly string[]): void => {
    const list = keys.map(quoted).join(', ');
    const rows = database.read(`SELECT ${list}, * FROM ${quoted(table)} ORDER BY ${list}`);
    for (const row of rows)
      content.set(
        `${kind} ${row.slice(0, keys.length).join()}`,
        row.slice(keys.length).map(String).join(', '),
      );
  };
  const present = new Set(
    database.read(`SELECT name FROM sqlite_schema WHERE type = 'table'`).map(([table]) => table),
  );
  if (!present.has(name) || !database.isReplica) return content;
  put('row', name, key);
  const [[id] = []] = database.read('SELECT id FROM _antiphon_tables WHERE name = ?', name);
  const [versions, hidden] = [`_antiphon_v${String(id)}`, `_antiphon_d${String(id)}`];
  if (present.has(versions))
    put(
      'version',
      versions,
      key.map((_, index) => `k${index}`),
    );
  if (present.has(hidden)) put('hidden', hidden, key);
  return content;
}

/**
 * I2: what is in a rescue ledger is nowhere else, and its number stands for nothing else; but a
 * power loss may take a transaction together with the knowledge that its number was given.
 */
function checkRescues(nodes: readonly SimulatedNode[], { log, ledger, violations }: CheckContext): void {
  for (const { id, database } of nodes) {
    const known = new Set<string>();
    for (const { counter, time, reason } of database.rescues()) {
      const name = `${id}:${counter}@${time}`;
      if (known.has(name)) violations.add('I2', id, `${name} is in its rescue ledger twice`);
      known.add(name);
      const isLost = ledger.transaction(id, counter, time)?.lost === true;
      if (log.transaction(id, counter, isLost ? time : undefined) !== undefined)
        violations.add('I2', id, `${name} is in its rescue ledger, and its number in the log`);
      if (reason === 'pending' && log.primary === id)
        violations.add('I3', id, `${id}:${counter} is to be written again, and is not`);
    }
  }
}

/** By token, the replica in whose rescue ledger it is. */
function rescuedTokens(nodes: readonly SimulatedNode[]): ReadonlyMap<string, string> {
  return new Map(
    nodes.flatMap(({ id, database }) =>
      database
        .rescues()
        .flatMap(({ rows }) => rows.flatMap(tokensIn))
        .map((token) => [token, id] as const),
    ),
  );
}

/**
 * I3: every write that a database committed, and did not lose with its power, is in one transaction
 * of the log, or in the rescue ledger of that database.
 */
function checkNothingLost(nodes: readonly SimulatedNode[], context: CheckContext): void {
  const { log, ledger, violations } = context;
  const rescued = rescuedTokens(nodes);
  const carriers = new Map<string, Set<string>>();
  for (const { origin, counter, changes } of log.transactions) {
    for (const token of changes.flatMap(({ row, op }) => (op === 'delete' ? [] : tokensIn(row)))) {
      carriers.set(token, (carriers.get(token) ?? new Set()).add(`${origin}:${counter}`));
    }
  }
  for (const [token, { replica }] of ledger.tokens) {
    if (carriers.has(token)) {
      if (rescued.get(token) === replica && !ledger.repeatable.has(token))
        violations.add('I3', replica, `the write ${token} is in the log and in the rescue ledger`);
    } else if (rescued.get(token) !== replica)
      violations.add('I3', replica, `the write ${token} was committed and is in no transaction of the log`);
  }
  checkFenced(context, (token, origin) => carriers.has(token) || rescued.get(token) === origin);
  for (const [token, ids] of carriers) {
    const [origin = ''] = token.split('#');
    if (ids.size > 1 && origin !== 'founding' && !ledger.repeatable.has(token))
      violations.add('I2', origin, `the write ${token} is in ${[...ids].join(' and ')}`);
  }
}

/**
 * I3: what came into the log and counts for nobody was committed once. A power loss may have taken
 * it since, and its number may have been given again before its origin read it.
 */
function checkFenced(
  { log, isSynchronous, violations }: CheckContext,
  isThere: (token: string, origin: string) => boolean,
): void {
  for (const { origin, counter, primary, changes, seq } of log.fenced) {
    const isTaken = log.transaction(origin, counter) !== undefined;
    if (isTaken || (isSynchronous && primary === origin)) continue;
    const tokens = changes.flatMap(({ row, op }) => (op === 'delete' ? [] : tokensIn(row)));
    for (const token of tokens)
      if (!isThere(token, origin))
        violations.add(
          'I3',
          origin,
          `the write ${token} came too late into the log (${seq}) and is not rescued`,
        );
  }
}
