import { DatabaseSync } from 'node:sqlite';
import { BenchCluster, REPLICAS, WRITER, type ReplicaName, type TopologyName } from './cluster.js';
import type { SyncWrites, SyncWritten } from './node/protocol.js';

const HOT_ROWS = 10;
const IN_SYNC_TIMEOUT_MS = 60_000;
const NS_PER_SECOND = 1e9;

/** Of all replicas that wrote. */
export interface SyncRound {
  readonly committed: number;
  readonly conflicts: number;
  /** NaN when the replicas do not count them. */
  readonly rejections: number;
  readonly transactionsPerSecond: number;
  readonly latenciesMs: readonly number[];
}

/** Three replicas whose writes wait until all three have committed them. */
export class SyncCluster {
  #hotIds: readonly number[] = [];
  /** What the databases must hold. */
  #rows = 0;
  #quantityOfHotRows = 0;

  private constructor(private readonly cluster: BenchCluster) {}

  static async start(folder: string, topology: TopologyName): Promise<SyncCluster> {
    const update = { mode: 'sync', acks: 'all', minInSync: REPLICAS.length } as const;
    const cluster = await BenchCluster.start(folder, topology, update);
    const own = new SyncCluster(cluster);
    try {
      const request = { members: REPLICAS, timeoutMs: IN_SYNC_TIMEOUT_MS };
      await Promise.all(REPLICAS.map((name) => cluster.process(name).call('inSync', request)));
      await own.#insertHotRows();
      return own;
    } catch (error) {
      await own.stop();
      throw error;
    }
  }

  /**
   * So many writes by so many writers, in the processes of the replicas in their order. When the
   * first process is through, the others end as well: the last writes of a slow one alone would say
   * nothing about the cluster.
   */
  async write(transactions: number, writers: readonly number[], hotShare = 0): Promise<SyncRound> {
    const all = writers.reduce((sum, count) => sum + count, 0);
    const names = REPLICAS.slice(0, writers.length);
    const parts = await Promise.all(
      names.map(async (name, index) => {
        const own = writers[index] ?? 0;
        const part = await this.#writeAt(name, Math.ceil((transactions * own) / all), own, hotShare);
        await Promise.all(names.map((other) => this.cluster.process(other).call('enough')));
        return part;
      }),
    );
    for (const part of parts) {
      this.#rows += part.inserted;
      this.#quantityOfHotRows += part.updated;
    }
    return sum(parts);
  }

  /** Every database holds every acknowledged row, and no increment was lost. Throws. */
  verify(): void {
    for (const name of REPLICAS) {
      const found = this.#contentOf(name);
      if (found.rows === this.#rows && found.quantity === this.#quantityOfHotRows) continue;
      throw new Error(
        `${name} holds ${found.rows} rows and ${found.quantity} in the hot ones; ` +
          `acknowledged were ${this.#rows} and ${this.#quantityOfHotRows}`,
      );
    }
  }

  stop(): Promise<void> {
    return this.cluster.stop();
  }

  async #insertHotRows(): Promise<void> {
    await this.write(HOT_ROWS, [1]);
    this.#hotIds = Array.from({ length: HOT_ROWS }, (_, index) => index + 1);
    this.#quantityOfHotRows = this.#contentOf(WRITER).quantity;
  }

  #writeAt(name: ReplicaName, transactions: number, writers: number, hotShare: number): Promise<SyncWritten> {
    const firstId = this.cluster.takeIds(transactions);
    const request: SyncWrites = { firstId, transactions, writers, hotShare, hotIds: this.#hotIds };
    return this.cluster.process(name).call<SyncWritten>('syncWrites', request);
  }

  #contentOf(name: ReplicaName): { readonly rows: number; readonly quantity: number } {
    const database = new DatabaseSync(this.cluster.file(name), { readOnly: true, timeout: 5000 });
    try {
      const hot = this.#hotIds.join(', ');
      const sql = `SELECT count(*) AS rows, sum(CASE WHEN id IN (${hot}) THEN quantity ELSE 0 END) AS quantity FROM orders`;
      const { rows, quantity } = database.prepare(sql).get() ?? {};
      return { rows: Number(rows ?? 0), quantity: Number(quantity ?? 0) };
    } finally {
      database.close();
    }
  }
}

function sum(parts: readonly SyncWritten[]): SyncRound {
  const startedNs = parts.map((part) => part.startedNs).reduce((a, b) => (a < b ? a : b));
  const endedNs = parts.map((part) => part.endedNs).reduce((a, b) => (a > b ? a : b));
  const total = (of: (part: SyncWritten) => number): number => parts.reduce((so, part) => so + of(part), 0);
  const committed = total((part) => part.inserted + part.updated);
  return {
    committed,
    conflicts: total((part) => part.conflicts),
    rejections: total((part) => part.rejections ?? Number.NaN),
    transactionsPerSecond: (committed * NS_PER_SECOND) / Number(endedNs - startedNs),
    latenciesMs: parts.flatMap((part) => Array.from(part.latenciesMs)),
  };
}
