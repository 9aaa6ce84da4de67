import { foldName, type InspectedTrigger, type InspectedView } from '@antiphon/core';
import type { Connection } from './connection.js';
import { raises, SchemaCopy, type SchemaObject, type Touched } from './schema-copy.js';
import { firesBeforeInsert } from './trigger-guard.js';

/**
 * What a table, a view or a trigger of the users needs beside it, given which tables are
 * replicated.
 */
export interface DependentObjects {
  /** In the order in which they were created. */
  readonly views: readonly InspectedView[];
  /** Triggers on replicated tables, and on views that travel. */
  readonly triggers: readonly InspectedTrigger[];
  /**
   * Triggers that fire again where a change is applied, and those that they set off in turn: what
   * they write is theirs alone, and the same everywhere they are.
   */
  readonly repeated: ReadonlySet<string>;
}

const NOTHING: DependentObjects = { views: [], triggers: [], repeated: new Set() };

/**
 * Finds out what the users' views and triggers touch. A view travels when everything that it reads
 * is replicated, and so does a trigger; `chosen` names triggers that stay where they are.
 */
export function inspectDependents(
  connection: Connection,
  replicated: readonly string[],
  chosen: readonly string[] = [],
): DependentObjects {
  if (!hasDependents(connection)) return NOTHING;
  const copy = new SchemaCopy(connection);
  try {
    return new Examination(copy, replicated, chosen).result();
  } finally {
    copy.close();
  }
}

function hasDependents(connection: Connection): boolean {
  const sql = `SELECT 1 FROM sqlite_schema WHERE type IN ('view', 'trigger') AND name NOT LIKE '\\_antiphon\\_%' ESCAPE '\\'`;
  return connection.db.prepare(sql, 'value').get() !== undefined;
}

class Examination {
  readonly #replicated: ReadonlySet<string>;
  readonly #chosen: ReadonlySet<string>;
  readonly #views = new Map<string, Touched>();
  readonly #triggers = new Map<string, Touched>();
  readonly #byName: ReadonlyMap<string, SchemaObject>;

  constructor(
    private readonly copy: SchemaCopy,
    replicated: readonly string[],
    chosen: readonly string[],
  ) {
    this.#replicated = new Set(replicated);
    this.#chosen = new Set(chosen.map(foldName));
    this.#byName = new Map(copy.objects.map((object) => [object.name, object]));
    for (const object of copy.objects) {
      if (object.type === 'view') this.#views.set(object.name, copy.view(object.name));
      if (object.type === 'trigger') this.#triggers.set(object.name, copy.trigger(object));
    }
  }

  result(): DependentObjects {
    const obstacles = this.#viewObstacles();
    const isTravelling = (name: string): boolean =>
      this.#replicated.has(name) || (this.#views.has(name) && !obstacles.has(name));
    const views = [...this.#views.keys()].map((name): InspectedView => {
      const obstacle = obstacles.get(name);
      return obstacle === undefined ? { name } : { name, obstacle };
    });
    const repeated = new Set<string>();
    const triggers = this.copy.objects
      .filter(({ type, table }) => type === 'trigger' && isTravelling(table))
      .map((object): InspectedTrigger => {
        const { reads, writes, problem } = this.#touchedBy(object.name);
        const uses = [...new Set([...reads, ...writes])]
          .filter((name) => this.#byName.has(name) && !isTravelling(name))
          .sort();
        const local = this.#chosen.has(foldName(object.name));
        const reached = local && problem === undefined ? this.#repeatable(object) : undefined;
        for (const name of reached ?? []) repeated.add(name);
        return {
          name: object.name,
          table: object.table,
          uses,
          local,
          repeats: reached !== undefined,
          ...(problem === undefined ? {} : { problem }),
        };
      });
    return { views, triggers, repeated };
  }

  #touchedBy(trigger: string): Touched {
    return this.#triggers.get(trigger) ?? { reads: new Set(), writes: new Set() };
  }

  /** Why views stay where they are. A view that reads another one depends on it, too. */
  #viewObstacles(): Map<string, string> {
    const obstacles = new Map<string, string>();
    for (const [name, { reads, problem }] of this.#views) {
      const missing = [...reads].filter(
        (read) => this.#byName.get(read)?.type === 'table' && !this.#replicated.has(read),
      );
      if (problem !== undefined) obstacles.set(name, `it cannot be used here (${problem})`);
      else if (missing.length > 0)
        obstacles.set(name, `it reads ${missing.sort().join(', ')}, which is not replicated`);
    }
    return obstacles;
  }

  /**
   * The trigger and what it sets off, when it can fire wherever a row is applied: it must write
   * only what is not replicated, and neither refuse nor skip a row. undefined when it must rest.
   */
  #repeatable(trigger: SchemaObject): ReadonlySet<string> | undefined {
    const reached = new Set<string>([trigger.name]);
    if (firesBeforeInsert(trigger.sql) || this.#views.has(trigger.table)) return undefined;
    for (const name of reached) {
      const { writes, problem } = this.#touchedBy(name);
      if (problem !== undefined || raises(this.#byName.get(name)?.sql ?? '')) return undefined;
      for (const written of writes) {
        if (this.#replicated.has(written) || this.#views.has(written)) return undefined;
        for (const object of this.copy.objects)
          if (object.type === 'trigger' && object.table === written) reached.add(object.name);
      }
    }
    return this.#touchedBy(trigger.name).writes.size === 0 ? undefined : reached;
  }
}
