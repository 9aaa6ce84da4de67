import { quote, randomSchema, randomStatement, randomTrigger, type Table } from '@antiphon/simulator/schema';
import { Random } from '@antiphon/testing';
import type { Script, Step } from './script.js';

export type Mode = 'plain' | 'versions' | 'group' | 'two-writers' | 'rewind';
export const MODES: readonly Mode[] = ['plain', 'versions', 'group', 'two-writers', 'rewind'];

/** The same seed and mode give the same script. */
export function randomScript(seed: number, mode: Mode): Script {
  const random = new Random(`${mode}/${seed}`);
  const writers = mode === 'two-writers' ? 2 : 1;
  const rowVersions = mode === 'versions' || writers === 2 || (mode === 'group' && random.chance(0.5));
  const libraryOnly = ['group', 'rewind'].includes(mode) && random.chance(mode === 'group' ? 0.5 : 0.15);
  const indexKeys = random.fork('keys').chance(0.5);
  const { tables, ddl } = randomSchema(random.fork('schema'), { multiWriter: rowVersions, indexKeys });
  const words = random.fork('statements');
  const setup = Array.from({ length: words.int(0, 8) }, () => randomStatement(words, tables));
  const maker = new Steps(words, tables, { mode, writers, libraryOnly });
  return {
    seed,
    writers,
    rowVersions,
    certified: mode === 'group',
    libraryOnly,
    failover: mode === 'rewind',
    ddl,
    setup,
    steps: maker.make(),
  };
}

interface StepWishes {
  readonly mode: Mode;
  readonly writers: 1 | 2;
  readonly libraryOnly: boolean;
}

class Steps {
  #triggers = 10;

  constructor(
    private readonly random: Random,
    private readonly tables: readonly Table[],
    private readonly wishes: StepWishes,
  ) {}

  make(): Step[] {
    const { random, wishes } = this;
    const steps: Step[] = [];
    for (let round = random.int(3, wishes.writers === 2 ? 14 : 8); round > 0; round--) {
      steps.push(...this.#writes(random.pick(wishes.writers === 2 ? ['a', 'b'] : ['a'])));
      if (wishes.writers === 2 && random.chance(0.75)) steps.push(...this.#traffic());
      else if (random.chance(0.7)) steps.push({ type: 'sync' });
    }
    return steps;
  }

  #traffic(): Step[] {
    const { random } = this;
    const on = random.pick(['a', 'b']);
    return random.chance(0.5)
      ? [{ type: 'publish', on }]
      : [{ type: 'deliver', on, entries: random.int(1, 4) }];
  }

  #writes(on: string): Step[] {
    const { random, wishes } = this;
    const steps: Step[] = [];
    for (let count = random.pick([1, 1, 2, 3]); count > 0; count--) {
      if (wishes.libraryOnly || random.chance(0.4)) steps.push(this.#library(on));
      else steps.push(this.#foreign(on));
    }
    if (!wishes.libraryOnly && random.chance(0.15))
      steps.push({ type: 'age', on, upToMs: random.pick([50, 500, 100_000]) });
    if (random.chance(0.06)) steps.push({ type: 'restart', on });
    if (!wishes.libraryOnly && random.chance(0.12)) steps.push(this.#schemaChange(on));
    return steps;
  }

  #library(on: string): Step {
    const type = this.wishes.mode === 'group' ? 'group' : 'library';
    return { type, on, statements: this.#statements(this.random.int(1, 4)) };
  }

  #statements(count: number): string[] {
    return Array.from({ length: count }, () => randomStatement(this.random, this.tables));
  }

  #foreign(on: string): Step {
    const { random } = this;
    const settings = { foreignKeys: random.chance(0.75), recursiveTriggers: random.chance(0.3) };
    if (random.chance(0.4))
      return { type: 'foreign', on, ...settings, statements: this.#statements(random.int(1, 4)) };
    const statements = [random.pick(['BEGIN', 'BEGIN IMMEDIATE']), ...this.#statements(random.int(1, 3))];
    if (random.chance(0.35)) {
      statements.push('SAVEPOINT one', ...this.#statements(random.int(1, 3)));
      if (random.chance(0.3)) statements.push('SAVEPOINT "two"', ...this.#statements(1), 'ROLLBACK TO "two"');
      statements.push(
        ...(random.chance(0.5) ? ['ROLLBACK TO one'] : []),
        'RELEASE one',
        ...this.#statements(random.int(0, 2)),
      );
    }
    statements.push(random.chance(0.12) ? 'ROLLBACK' : 'COMMIT');
    return { type: 'foreign', on, ...settings, statements };
  }

  #schemaChange(on: string): Step {
    const { random } = this;
    const table = random.pick(this.tables);
    const name = quote(table.name);
    const column = quote(random.pick(table.columns).name);
    const index = quote(`later ${this.#triggers++}`);
    const foreign = { type: 'foreign' as const, on, foreignKeys: true, recursiveTriggers: false };
    switch (random.int(0, 5)) {
      case 0:
        return { ...foreign, statements: ['VACUUM'] };
      case 1:
        return { ...foreign, statements: ['ANALYZE'] };
      case 2:
        return { ...foreign, statements: [`CREATE INDEX ${index} ON ${name} (${column})`] };
      case 3:
        return {
          ...foreign,
          statements: [
            ...this.#statements(1),
            `CREATE INDEX ${index} ON ${name} (${column})`,
            'REINDEX',
            ...this.#statements(1),
          ],
        };
      case 4:
        return {
          ...foreign,
          statements: [
            ...this.#statements(1),
            randomTrigger(random, this.tables, this.#triggers++),
            ...this.#statements(2),
          ],
        };
      default:
        return {
          type: 'drift',
          on,
          statements: this.#statements(2),
          add: `ALTER TABLE ${name} ADD COLUMN "added later" TEXT`,
          drop: `ALTER TABLE ${name} DROP COLUMN "added later"`,
        };
    }
  }
}
