import { TaggedValue, type Value } from '@antiphon/core';
import type { ShownRescueChange, ShownRow } from '@antiphon/replica';

/** One statement, which does nothing where the row is not as it was before. */
export function changeSql({ table, columns, before, after }: ShownRescueChange): string {
  const name = quoted(table);
  const names = columns.map(quoted);
  if (before === undefined) {
    const values = (after ?? []).map(literal).join(', ');
    return `INSERT INTO ${name} (${names.join(', ')}) VALUES (${values}) ON CONFLICT DO NOTHING;\n`;
  }
  const where = names.map((column, index) => `${column} IS ${literal(before[index])}`).join(' AND ');
  if (after === undefined) return `DELETE FROM ${name} WHERE ${where};\n`;
  const set = names
    .map((column, index) => [column, literal(before[index]), literal(after[index])] as const)
    .filter(([, was, is]) => was !== is)
    .map(([column, , is]) => `${column} = ${is}`);
  return set.length === 0 ? '' : `UPDATE ${name} SET ${set.join(', ')} WHERE ${where};\n`;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** Exact, as SQLite reads it. */
function literal(given: ShownRow[number] | undefined): string {
  const value = (given ?? null) as Value;
  if (value === null) return 'NULL';
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'boolean') return value ? '1' : '0';
  if (typeof value === 'number') return float(value);
  if (value instanceof Uint8Array) return `x'${hex(value)}'`;
  if (value instanceof TaggedValue) return `CAST(x'${hex(value.bytes)}' AS TEXT)`;
  // The shell ends a statement's text at NUL, and reads it by lines.
  return /[\0\r\n]/.test(value)
    ? `CAST(x'${hex(Buffer.from(value, 'utf8'))}' AS TEXT)`
    : `'${value.replaceAll("'", "''")}'`;
}

function float(value: number): string {
  if (Number.isNaN(value)) return 'NULL';
  if (!Number.isFinite(value)) return value > 0 ? '9e999' : '-9e999';
  if (Object.is(value, -0)) return '-0.0';
  const digits = String(value);
  return /[.e]/.test(digits) ? digits : `${digits}.0`;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
