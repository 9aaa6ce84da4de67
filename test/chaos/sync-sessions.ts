import { History, type Completion, type Operation, type OperationRecord } from '@antiphon/testing';
import { pause } from './cluster.js';
import type { ReplicaHandle } from './replica-handle.js';
import { read, type Settled } from './sync-cluster.js';

interface SessionOptions {
  readonly replicas: readonly ReplicaHandle[];
  readonly writers: readonly ReplicaHandle[];
  readonly count: number;
}

const KEYS = 4;
const TIMEOUT_MS = 1500;
/** Nobody else needs to have it yet: what a session reads next, it reads where it may not be. */
const OPTIONS = { acks: 'logged', timeoutMs: TIMEOUT_MS };
const SQL = 'SELECT value, version FROM registers WHERE id = ?';

/**
 * Clients that go from replica to replica and carry what they have seen with them. `end` gives what
 * happened to them, `soFar` what has until now.
 */
export function runSessions(options: SessionOptions): {
  soFar(): readonly OperationRecord[];
  end(): Promise<readonly OperationRecord[]>;
} {
  // The clock that the processes record with.
  const history = new History({ now: () => Number(process.hrtime.bigint()) / 1e6 });
  const ending = new AbortController();
  const sessions = Array.from({ length: options.count }, (_, index) =>
    new Session(`session-${index}`, history, options).run(ending.signal),
  );
  return {
    soFar: () => history.records(),
    end: async () => {
      ending.abort();
      await Promise.all(sessions);
      return history.records();
    },
  };
}

class Session {
  #after: Settled['position'] | undefined;
  #writes = 0;

  constructor(
    private readonly name: string,
    private readonly history: History,
    private readonly options: SessionOptions,
  ) {}

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const key = `r${Math.floor(Math.random() * KEYS)}`;
      const writes = this.#after === undefined || Math.random() < 0.3;
      const replica = pick(writes ? this.options.writers : this.options.replicas);
      if (replica !== undefined) {
        if (writes) await this.#write(replica, key);
        else await this.#read(replica, key);
      }
      // A read follows its write at once.
      if (!writes || replica === undefined) await pause(5);
    }
  }

  #write(replica: ReplicaHandle, key: string): Promise<void> {
    const value = `${this.name}-${this.#writes++}`;
    return this.#record({ kind: 'write', key, value }, async () => {
      const request = { named: 'writeRegister', key, value, options: OPTIONS };
      const settled = await replica.ask<Settled>('transaction', request);
      if (settled.outcome !== 'committed') return ended(settled);
      this.#after = settled.position;
      return { type: 'ok', version: Number(settled.value) };
    });
  }

  #read(replica: ReplicaHandle, key: string): Promise<void> {
    return this.#record({ kind: 'read', key }, async () => {
      const options = {
        consistency: 'session',
        timeoutMs: TIMEOUT_MS,
        ...(this.#after && { after: this.#after }),
      } as const;
      const settled = await read(replica, SQL, [key], options);
      if (settled.outcome !== 'read') return ended(settled);
      const { generation, seq } = settled.position;
      this.#after = { generation, seq };
      const [row] = settled.rows ?? [];
      if (row === undefined) return { type: 'ok', value: null };
      return { type: 'ok', value: String(row.value), version: Number(row.version) };
    });
  }

  async #record(operation: Operation, run: () => Promise<Completion>): Promise<void> {
    const handle = this.history.invoke(this.name, operation);
    // The process ended: nobody knows what became of what was asked of it.
    this.history.complete(handle, await run().catch((): Completion => ({ type: 'unknown' })));
  }
}

function ended({ outcome }: Settled): Completion {
  return outcome === 'unknown' ? { type: 'unknown' } : { type: 'failed' };
}

function pick(replicas: readonly ReplicaHandle[]): ReplicaHandle | undefined {
  const running = replicas.filter((replica) => replica.running);
  return running[Math.floor(Math.random() * running.length)];
}
