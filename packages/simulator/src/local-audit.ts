import { AUDIT_TRIGGER } from './features.js';
import type { SimulatedNode } from './node.js';
import type { Violations } from './violation.js';

/** Each database's own record of what comes into a replicated table. */
const MAKE = [
  'CREATE TABLE audit (token TEXT)',
  `CREATE TRIGGER ${AUDIT_TRIGGER} AFTER INSERT ON events BEGIN INSERT INTO audit VALUES (new.token); END`,
];

/** Checks that a trigger which stays where it is fires for whatever comes, from wherever. */
export class LocalAudit {
  /** The rows that were there before. */
  readonly #before = new Map<SimulatedNode, ReadonlySet<string>>();

  /** Once its database has the table, and again when an older copy of it has no trigger. */
  install(node: SimulatedNode): void {
    const { database } = node;
    if (database.busy || !database.tableNames().includes('events')) return;
    const found = database.read(`SELECT 1 FROM sqlite_schema WHERE name = '${AUDIT_TRIGGER}'`);
    if (found.length > 0) return;
    try {
      database.migrate((editor) => MAKE.forEach((sql) => editor.run(sql)));
      this.#before.set(node, new Set(namesOf(node, 'SELECT replica, number FROM events')));
    } catch {
      // It is locked, or full: next time.
    }
  }

  check(nodes: readonly SimulatedNode[], violations: Violations): void {
    for (const node of nodes) {
      const before = this.#before.get(node);
      // An older copy may have come back too late to get its table again.
      if (before === undefined || !node.database.tableNames().includes('audit')) continue;
      const missing = namesOf(
        node,
        'SELECT replica, number FROM events WHERE token NOT IN (SELECT token FROM audit)',
      ).filter((name) => !before.has(name));
      for (const name of missing)
        violations.add('I4', node.id, `its own trigger did not fire for row ${name} of events`);
    }
  }
}

function namesOf({ database }: SimulatedNode, sql: string): readonly string[] {
  return database.read(sql).map((row) => row.map(String).join(' '));
}
