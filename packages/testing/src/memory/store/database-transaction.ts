/** Reading one keyed space of the database after the other. */
export interface Reading {
  get<T>(space: Space<T>, key: string): T | undefined;
  /** In no particular order. */
  entries<T>(space: Space<T>): Iterable<readonly [string, T]>;
}

/** A named map inside the database; the type says what it holds. Values are never changed in place. */
export interface Space<T> {
  readonly name: string;
  /** Only there for the type. */
  readonly holds?: T;
}

type Overlay = Map<string, Map<string, unknown>>;

/** Marks what a transaction has deleted. */
const DELETED = Symbol('deleted');
const ABSENT = Symbol('absent');

interface JournalEntry {
  readonly space: string;
  readonly key: string;
  readonly before: unknown;
}

export interface CommittedChange {
  readonly space: string;
  readonly key: string;
  /** undefined: there was none. */
  readonly before: unknown;
}

/**
 * The one open write transaction of a database: what it wrote lies over the committed content until `commit`, so readers
 * beside it see none of it. Savepoints undo a part.
 */
export class DatabaseTransaction implements Reading {
  readonly #overlay: Overlay = new Map();
  readonly #journal: JournalEntry[] = [];
  #open = true;

  constructor(
    private readonly base: Map<string, Map<string, unknown>>,
    private readonly ended: (changes: readonly CommittedChange[] | undefined) => void,
  ) {}

  get open(): boolean {
    return this.#open;
  }

  get<T>(space: Space<T>, key: string): T | undefined {
    const written = this.#overlay.get(space.name)?.get(key);
    if (written === DELETED) return undefined;
    if (written !== undefined) return written as T;
    return this.base.get(space.name)?.get(key) as T | undefined;
  }

  *entries<T>(space: Space<T>): Iterable<readonly [string, T]> {
    const written = this.#overlay.get(space.name);
    for (const [key, value] of this.base.get(space.name) ?? []) {
      if (written?.has(key) !== true) yield [key, value as T];
    }
    for (const [key, value] of written ?? []) {
      if (value !== DELETED) yield [key, value as T];
    }
  }

  put<T>(space: Space<T>, key: string, value: T): void {
    this.#write(space.name, key, value);
  }

  delete<T>(space: Space<T>, key: string): void {
    if (this.get(space, key) !== undefined) this.#write(space.name, key, DELETED);
  }

  /** A place to go back to with `rollbackTo`. */
  savepoint(): number {
    return this.#journal.length;
  }

  rollbackTo(savepoint: number): void {
    while (this.#journal.length > savepoint) {
      const entry = this.#journal.pop();
      if (entry === undefined) return;
      const written = this.#overlay.get(entry.space);
      if (entry.before === ABSENT) written?.delete(entry.key);
      else written?.set(entry.key, entry.before);
    }
  }

  commit(): void {
    if (!this.#open) throw new Error('the transaction has ended');
    this.#open = false;
    const changes: CommittedChange[] = [];
    for (const [space, written] of this.#overlay) {
      const content = this.base.get(space) ?? new Map<string, unknown>();
      this.base.set(space, content);
      for (const [key, value] of written) {
        changes.push({ space, key, before: content.get(key) });
        if (value === DELETED) content.delete(key);
        else content.set(key, value);
      }
    }
    this.ended(changes);
  }

  rollback(): void {
    if (!this.#open) return;
    this.#open = false;
    this.ended(undefined);
  }

  #write(space: string, key: string, value: unknown): void {
    if (!this.#open) throw new Error('the transaction has ended');
    let written = this.#overlay.get(space);
    if (written === undefined) this.#overlay.set(space, (written = new Map<string, unknown>()));
    this.#journal.push({ space, key, before: written.has(key) ? written.get(key) : ABSENT });
    written.set(key, value);
  }
}
