import { watch, type FSWatcher } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';

const FALLBACK_POLL_MS = 1;

/**
 * Sees a row as soon as any other program would: a plain SQLite connection that looks whenever the
 * write-ahead log was written (inotify). Polling without pause would take the processor from those
 * that are measured.
 */
export class RowWatch {
  readonly #database: DatabaseSync;
  readonly #find: StatementSync;
  readonly #watcher: FSWatcher;
  #look: () => void = () => undefined;

  constructor(file: string) {
    this.#database = new DatabaseSync(file, { readOnly: true, timeout: 5000 });
    this.#find = this.#database.prepare('SELECT 1 FROM orders WHERE id = ?');
    this.#watcher = watch(`${file}-wal`, () => this.#look());
  }

  /** When the row was first seen, by the monotonic clock. */
  visible(id: number, timeoutMs: number): Promise<bigint> {
    return new Promise((resolve, reject) => {
      const deadline = performance.now() + timeoutMs;
      const look = (): void => {
        const seen = this.#find.get(id) !== undefined;
        if (!seen && performance.now() < deadline) return;
        clearInterval(fallback);
        this.#look = () => undefined;
        if (seen) resolve(process.hrtime.bigint());
        else reject(new Error(`row ${id} did not arrive within ${timeoutMs} ms`));
      };
      // An event may come before the commit is complete.
      const fallback = setInterval(look, FALLBACK_POLL_MS);
      this.#look = look;
    });
  }

  close(): void {
    this.#watcher.close();
    this.#database.close();
  }
}
