import {
  AntiphonError,
  decodeBatches,
  decodeChanges,
  encodeBatch,
  type ApplyOutcome,
  type ApplyRequest,
  type Change,
  type ChecksumReport,
  type ClusterSchema,
  type HybridClock,
  type InstallOptions,
  type Position,
  type QueryResult,
  type RowDigest,
  type SealedMessage,
  type Store,
  type StoreIdentity,
  type StoreInspection,
  type StoreState,
  type Value,
  type WriteOutcome,
  type WriteRequest,
} from '@antiphon/core';

export interface MapTransaction {
  put(key: string, value: string): void;
  delete(key: string): void;
}

const TABLE = {
  name: 'kv',
  columns: [
    { name: 'k', declaredType: 'TEXT' },
    { name: 'v', declaredType: 'TEXT' },
  ],
  key: [0],
};
const DICTIONARY = { name: 'kv', columns: ['k', 'v'], key: [0] };

/** One table of texts in memory, last applied wins: just enough of a Store to watch the actors, with faults on demand. */
export class MapStore implements Store<MapTransaction> {
  readonly engine = 'map';
  readonly capabilities = { sql: false, capturesForeignWriters: false, refusesForeignWriters: false };
  readonly rows = new Map<string, string>();
  readonly quarantine: { seq: number; code: string }[] = [];
  /** Called before each write and apply; throw to fail it. */
  fault: (what: 'write' | 'apply') => void = () => undefined;
  /** Refuses to apply this value. */
  refuses: string | undefined;
  /** The table is there before it is installed. */
  founded = false;
  #identity: StoreIdentity | undefined;
  #schema: ClusterSchema | undefined;
  #clock: HybridClock | undefined;
  #sealed: SealedMessage[] = [];
  #vector: Record<string, number> = {};
  #position: Position = { generation: '', seq: 0 };
  #published = 0;
  #resumed = 0;

  inspect(): Promise<StoreInspection> {
    const tables =
      this.founded || this.#schema !== undefined ? [{ schema: TABLE, rowCount: this.rows.size }] : [];
    const ddl = { engine: 'map', statements: [] };
    return Promise.resolve({ tables, ddl, ...(this.#identity && { identity: this.#identity }) });
  }

  install(options: InstallOptions, clock: HybridClock): Promise<void> {
    this.#clock = clock;
    if (this.#identity === undefined) this.#position = { generation: options.identity.generation, seq: 0 };
    this.#identity = options.identity;
    this.#schema = options.schema;
    if (options.sealExistingRows && this.rows.size > 0) {
      this.#seal([...this.rows].map(([k, v]): Change => ({ op: 'insert', table: 0, row: [k, v] })));
    }
    return Promise.resolve();
  }

  state(): StoreState {
    const lastCounter = Math.max(this.#resumed, this.#vector[this.#me] ?? 0);
    return {
      position: this.#position,
      vector: this.#vector,
      lastCounter,
      publishedCounter: this.#published,
      partial: {},
      epoch: 0,
      outboxMessages: this.#sealed.length,
      outboxBytes: this.#sealed.reduce((sum, { data }) => sum + data.length, 0),
      conflicts: 0,
      quarantined: this.quarantine.length,
    };
  }

  write(requests: readonly WriteRequest<MapTransaction>[]): Promise<readonly WriteOutcome[]> {
    this.fault('write');
    return Promise.resolve(requests.map((request) => this.#run(request)));
  }

  seal(): Promise<number> {
    return Promise.resolve(0);
  }

  hasUnsealed(): boolean {
    return false;
  }

  sealed(after: { readonly counter: number }, maxBytes: number): Promise<readonly SealedMessage[]> {
    const page: SealedMessage[] = [];
    let bytes = 0;
    for (const message of this.#sealed) {
      if (message.lastCounter <= after.counter) continue;
      if (page.length > 0 && bytes + message.data.length > maxBytes) break;
      bytes += message.data.length;
      page.push(message);
    }
    return Promise.resolve(page);
  }

  markPublished(counter: number, position?: Position): void {
    this.#published = Math.max(this.#published, counter);
    if (position !== undefined) this.#position = position;
  }

  prune(counter: number): Promise<void> {
    this.#sealed = this.#sealed.filter(({ lastCounter }) => lastCounter > counter);
    return Promise.resolve();
  }

  apply(request: ApplyRequest): Promise<ApplyOutcome> {
    this.fault('apply');
    let rows = 0;
    for (const [index, step] of request.steps.entries()) {
      if (step.type === 'quarantine') {
        this.quarantine.push({ seq: step.seq, code: step.error.code });
        continue;
      }
      const changes =
        step.type === 'part'
          ? [...decodeChanges([step.batch.body], step.batch.tables)]
          : step.batch.transactions.slice(step.skip).flatMap((transaction) => transaction.changes);
      if (changes.some(({ row }) => row[1] === this.refuses)) {
        this.#position = { ...request.position, seq: step.seq - 1 };
        const error = new AntiphonError('CONSTRAINT', `the value ${this.refuses ?? ''} is refused`);
        return Promise.resolve({ transactions: index, rows, conflicts: 0, refused: { step: index, error } });
      }
      for (const change of changes) this.#change(change);
      rows += changes.length;
      const { origin, firstCounter } = step.batch;
      const count = step.type === 'part' ? 1 : step.batch.transactions.length;
      this.#vector = { ...this.#vector, [origin]: firstCounter + count - 1 };
    }
    this.#position = request.position;
    return Promise.resolve({ transactions: request.steps.length, rows, conflicts: 0 });
  }

  resumeFrom(counter: number): Promise<void> {
    this.#published = Math.max(this.#published, counter);
    this.#resumed = counter;
    return Promise.resolve();
  }

  query(): Promise<QueryResult> {
    const rows = [...this.rows].sort(([a], [b]) => (a < b ? -1 : 1));
    return Promise.resolve({ columns: ['k', 'v'], rows });
  }

  checksum(): Promise<ChecksumReport> {
    const checksum = JSON.stringify([...this.rows].sort());
    const tables = [{ table: 'kv', rows: this.rows.size, checksum }];
    return Promise.resolve({ position: this.#position, vector: this.#vector, tables });
  }

  rowDigests(
    _table: string,
    afterKey: readonly Value[] | undefined,
    limit: number,
  ): Promise<readonly RowDigest[]> {
    const after = afterKey?.[0] ?? '';
    const rows = [...this.rows].sort(([a], [b]) => (a < b ? -1 : 1)).filter(([key]) => key > String(after));
    return Promise.resolve(rows.slice(0, limit).map(([key, digest]) => ({ key: [key], digest })));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  get #me(): string {
    return this.#identity?.replica ?? '';
  }

  #run(request: WriteRequest<MapTransaction>): WriteOutcome {
    const changes: Change[] = [];
    try {
      const value = request.run({
        put: (k, v) => void changes.push({ op: 'insert', table: 0, row: [k, v] }),
        delete: (k) => void changes.push({ op: 'delete', table: 0, row: [k, this.rows.get(k) ?? null] }),
      });
      if (changes.length === 0) return { type: 'committed', value };
      for (const change of changes) this.#change(change);
      return { type: 'committed', value, id: { origin: this.#me, counter: this.#seal(changes) } };
    } catch (cause) {
      return { type: 'rejected', error: new AntiphonError('CONSTRAINT', String(cause), { cause }) };
    }
  }

  #change({ op, row }: Change): void {
    if (op === 'delete') this.rows.delete(String(row[0]));
    else this.rows.set(String(row[0]), String(row[1]));
  }

  #seal(changes: readonly Change[]): number {
    const counter = (this.#vector[this.#me] ?? 0) + 1;
    const time = this.#clock?.tick() ?? 0;
    const context = { ...this.#vector };
    this.#vector = { ...this.#vector, [this.#me]: counter };
    const data = encodeBatch({
      kind: 'transactions',
      origin: this.#me,
      firstCounter: counter,
      epoch: 0,
      time,
      context,
      schemaVersion: 1,
      tables: [DICTIONARY],
      transactions: [{ counter, time, changes }],
    });
    this.#sealed.push({ firstCounter: counter, lastCounter: counter, part: 0, last: true, data });
    // Published bytes are read back as the log will hold them.
    decodeBatches(data);
    return counter;
  }
}
