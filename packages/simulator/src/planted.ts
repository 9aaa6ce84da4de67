import type { Database } from '@antiphon/sqlite';
import type { Surroundings } from '@antiphon/sqlite/internal';
import { SimulatedStore } from './disk/simulated-store.js';

/** A store that has a connection of its own, for what it does wrong. */
export class MeddlingStore extends SimulatedStore {
  #own: Database | undefined;

  constructor(
    private readonly path: string,
    private readonly around: Surroundings,
    ...rest: ConstructorParameters<typeof SimulatedStore> extends [string, Surroundings, ...infer R]
      ? R
      : never
  ) {
    super(path, around, ...rest);
  }

  protected meddle(change: (database: Database) => void): void {
    this.#own ??= this.around.openDatabase(this.path);
    try {
      this.#own.exec('BEGIN IMMEDIATE');
    } catch {
      // Somebody writes right now.
      return;
    }
    try {
      change(this.#own);
      this.#own.prepare('COMMIT').run();
    } catch (thrown) {
      // The disk is full: nobody else must find the database locked for good.
      this.#own.exec('ROLLBACK');
      if ((thrown as { errcode?: number }).errcode !== 13) throw thrown;
    }
  }
}

/** A port that does some things in another way. */
export function wrapped<T extends object>(port: T, changes: Partial<T>): T {
  return new Proxy(port, {
    get: (target, name) => {
      if (name in changes) return changes[name as keyof T];
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
