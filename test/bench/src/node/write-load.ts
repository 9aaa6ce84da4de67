import type { Replica } from '@antiphon/replica';
import type { SqliteTransaction } from '@antiphon/sqlite';
import { benchRow, COLUMNS } from '../rows.js';
import type { NodeProtocol, Written } from './protocol.js';

const INSERT = `INSERT INTO orders VALUES (${COLUMNS.map(() => '?').join(', ')})`;
const KEPT_FAILURES = 5;
/** A writer whose write failed would fail again at once. */
const AFTER_FAILURE_MS = 20;

/**
 * Writers that know nothing of failover: each calls `execute` again as soon as it is answered, and
 * what it gets as an error is a failed write.
 */
export class WriteLoad {
  readonly #firstNs: Record<string, bigint> = {};
  readonly #failures: string[] = [];
  readonly #writers: readonly Promise<void>[];
  #next: number;
  #ended = false;
  #committed = 0;
  #failed = 0;
  #longestMs = 0;

  constructor(
    private readonly replica: Replica<SqliteTransaction>,
    private readonly request: Parameters<NodeProtocol['beginWrites']>[0],
  ) {
    this.#next = request.firstId;
    this.#writers = Array.from({ length: request.writers }, () => this.#write());
  }

  /** When the first write of this primary was answered; undefined before. */
  first(origin: string): bigint | undefined {
    return this.#firstNs[origin];
  }

  async end(): Promise<Written> {
    this.#ended = true;
    await Promise.all(this.#writers);
    return {
      ...{ committed: this.#committed, failed: this.#failed, failures: this.#failures },
      longestMs: this.#longestMs,
    };
  }

  async #write(): Promise<void> {
    while (!this.#ended) {
      const startedMs = performance.now();
      const isWritten = await this.#once();
      this.#longestMs = Math.max(this.#longestMs, performance.now() - startedMs);
      const pauseMs = isWritten ? this.request.pauseMs : AFTER_FAILURE_MS;
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #once(): Promise<boolean> {
    try {
      const { id } = await this.replica.execute([{ sql: INSERT, params: benchRow(this.#next++) }]);
      this.#committed += 1;
      if (id !== undefined) this.#firstNs[id.origin] ??= process.hrtime.bigint();
      return true;
    } catch (error) {
      this.#failed += 1;
      if (this.#failures.length < KEPT_FAILURES) this.#failures.push(String(error));
      return false;
    }
  }
}
