import type { Random } from '@antiphon/testing';
import { list, quote } from './names.js';
import type { Table } from './schema.js';
import { literal } from './values.js';

/**
 * A trigger as users write them: BEFORE or AFTER, on the same row or on other tables, with RAISE.
 */
export function randomTrigger(random: Random, tables: readonly Table[], index: number): string {
  const table = random.pick(tables);
  const event = random.pick(['INSERT', 'UPDATE', 'UPDATE', 'DELETE'] as const);
  const time = random.pick(['BEFORE', 'AFTER', 'AFTER']);
  const row = event === 'DELETE' ? 'OLD' : 'NEW';
  const of = event === 'UPDATE' && random.chance(0.5) ? ` OF ${quote(random.pick(table.columns).name)}` : '';
  const watched = random.pick(table.columns);
  const when = random.chance(0.4)
    ? ` WHEN ${row}.${quote(watched.name)} ${random.pick(['=', '<>', '>', 'IS NOT'])} ${literal(random, watched.kind)}`
    : '';
  const body = Array.from({ length: random.pick([1, 1, 2]) }, () => action(random, table, tables, row));
  const name = random.pick([`tr${index}`, `trigger ${index}`, `_antiphonic${index}`, `begin${index}`]);
  const each = random.chance(0.2) ? ' FOR EACH ROW' : '';
  const head = `CREATE TRIGGER ${quote(name)} ${time} ${event}${of} ON ${quote(table.name)}`;
  return `${head}${each}${when} BEGIN ${body.join('; ')}; END`;
}

function action(random: Random, table: Table, tables: readonly Table[], row: string): string {
  const sameRow = table.key.map((name) => `${quote(name)} IS ${row}.${quote(name)}`).join(' AND ');
  const other = random.pick(tables);
  const others = other.columns.filter(({ name }) => !other.key.includes(name));
  const column = random.pick(others.length > 0 ? others : other.columns);
  const from = random.pick(table.columns);
  const source = `${row}.${quote(from.name)}`;
  switch (random.int(0, 7)) {
    case 0:
    case 1: {
      const own = table.columns.filter(({ name }) => !table.key.includes(name));
      const set = random.pick(own.length > 0 ? own : table.columns);
      const value =
        set.kind === 'integer' ? `(coalesce(${quote(set.name)}, 0) + 1) % 8` : literal(random, set.kind);
      const guard = `${quote(set.name)} IS NOT ${literal(random, set.kind)}`;
      const or = random.pick(['', '', ' OR IGNORE', ' OR REPLACE']);
      const assignment = `${quote(set.name)} = ${value}`;
      return `UPDATE${or} ${quote(table.name)} SET ${assignment} WHERE ${sameRow} AND ${guard}`;
    }
    case 2: {
      const or = random.pick([' OR IGNORE', ' OR IGNORE', ' OR REPLACE', '']);
      const value = random.chance(0.5) ? literal(random, column.kind) : source;
      const wanted = random.chance(0.5) ? source : literal(random, column.kind);
      const name = quote(column.name);
      return `UPDATE${or} ${quote(other.name)} SET ${name} = ${value} WHERE ${name} IS ${wanted}`;
    }
    case 3: {
      const wanted = random.chance(0.5) ? source : literal(random, column.kind);
      return `DELETE FROM ${quote(other.name)} WHERE ${quote(column.name)} = ${wanted}`;
    }
    case 4:
    case 5: {
      const values = other.columns.map(({ kind, name }) => {
        const fitting = table.columns.filter((candidate) => candidate.kind === kind);
        if (other.key.includes(name) || fitting.length === 0 || random.chance(0.4))
          return literal(random, kind);
        return `${row}.${quote(random.pick(fitting).name)}`;
      });
      const or = random.pick(['IGNORE', 'IGNORE', 'REPLACE']);
      const names = list(other.columns.map(({ name }) => name));
      return `INSERT OR ${or} INTO ${quote(other.name)} (${names}) VALUES (${values.join(', ')})`;
    }
    case 6: {
      const raised = random.pick(['IGNORE', 'IGNORE', "ABORT, 'no'", "FAIL, 'no'", "ROLLBACK, 'no'"]);
      return `SELECT RAISE(${raised}) WHERE ${source} = ${literal(random, from.kind)}`;
    }
    default: {
      const guard = `${source} = ${literal(random, from.kind)}`;
      return `DELETE FROM ${quote(table.name)} WHERE ${sameRow} AND ${guard}`;
    }
  }
}
