import type { Connection } from './connection.js';
import type { Database } from './driver/driver.js';

/** With more than this, the state row would grow beyond what a small row costs. */
const MOST_IN_THE_ROW = 8;

/**
 * The counters of other origins as the database has them: those that moved last are in the state
 * row, whose page every transaction writes anyway, and all others in a table. It is written when
 * the row has no more room for them, so a few writers cost no page of their own, and many no long
 * row. Never changed: its successor is another object.
 */
export class StoredVector {
  static readonly EMPTY = new StoredVector('{}', {});

  private constructor(
    /** What the state row is to have. */
    readonly text: string,
    private readonly inRow: Readonly<Record<string, number>>,
    /** What is to go into the table with it. */
    private readonly forTable: Readonly<Record<string, number>> = {},
  ) {}

  static of(text = '{}'): StoredVector {
    return new StoredVector(text, parse(text));
  }

  /** With these origins' counters. */
  with(origins: ReadonlySet<string>, counters: Readonly<Record<string, number>>): StoredVector {
    if (origins.size === 0)
      return Object.keys(this.forTable).length === 0 ? this : new StoredVector(this.text, this.inRow);
    const inRow = { ...this.inRow };
    for (const origin of origins) inRow[origin] = counters[origin] ?? 0;
    return Object.keys(inRow).length > MOST_IN_THE_ROW
      ? new StoredVector('{}', {}, inRow)
      : new StoredVector(JSON.stringify(inRow), inRow);
  }

  /** What does not stay in the state row, in the caller's transaction. */
  store(connection: Connection): void {
    for (const [origin, counter] of Object.entries(this.forTable))
      connection
        .statement(
          'INSERT INTO _antiphon_vector VALUES (?, ?) ON CONFLICT (origin) DO UPDATE SET counter = excluded.counter',
        )
        .run(origin, counter);
  }
}

/** The counters of all other origins; `inRow` is what the state row has. */
export function readVector(db: Database, inRow = '{}'): Record<string, number> {
  const rows = db.prepare('SELECT origin, counter FROM _antiphon_vector', 'array').all();
  const stored = Object.fromEntries(rows as [string, number][]);
  return { ...stored, ...parse(inRow) };
}

function parse(text: string): Record<string, number> {
  return JSON.parse(text) as Record<string, number>;
}
