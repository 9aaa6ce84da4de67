import {
  AntiphonError,
  type ApplyOutcome,
  type ApplyRequest,
  type ApplyStep,
  type Change,
  type ChecksumReport,
  claimOf,
  type ClusterSchema,
  decodeBatches,
  decodeChanges,
  encodeBatch,
  type Gap,
  type GroupOutcome,
  type HybridClock,
  type InstallOptions,
  movedTo,
  type NamedClaim,
  type Position,
  type PreparedGroup,
  type PreparedWrite,
  type PrepareOptions,
  type QuarantinedMessage,
  type QueryResult,
  type RowDigest,
  type SealedMessage,
  type Store,
  type StoreIdentity,
  type StoreInspection,
  type StoreState,
  type SyncSection,
  type TransactionId,
  type Value,
  withGap,
  withoutArrived,
  withoutGap,
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

/** What one write does, before it is sealed. */
type Run =
  | { readonly type: 'ran'; readonly value: unknown; readonly changes: readonly Change[] }
  | { readonly type: 'rejected'; readonly error: AntiphonError };

/**
 * One table of texts in memory, last applied wins: just enough of a Store to watch the actors, with faults on
 * demand.
 */
export class MapStore implements Store<MapTransaction> {
  readonly engine = 'map';
  readonly capabilities = { sql: false, capturesForeignWriters: false, refusesForeignWriters: false };
  readonly rows = new Map<string, string>();
  readonly putAside: (QuarantinedMessage & { readonly data: Uint8Array })[] = [];
  #discarded = 0;
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
  #outcomes: GroupOutcome[] = [];
  #gaps: readonly Gap[] = [];
  /** As if somebody had changed the schema. */
  cookie = 0;

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
      quarantined: this.putAside.length,
      quarantinedBytes: this.putAside.reduce((sum, { bytes }) => sum + bytes, 0),
      discarded: this.#discarded,
      gaps: this.#gaps,
    };
  }

  write(requests: readonly WriteRequest<MapTransaction>[]): Promise<readonly WriteOutcome[]> {
    this.fault('write');
    return Promise.resolve(requests.map((request) => this.#write(request)));
  }

  /** Everything happens in a copy until the commit. */
  prepare(
    requests: readonly WriteRequest<MapTransaction>[],
    { token, reply, maxBytes, certified }: PrepareOptions,
  ): Promise<PreparedGroup> {
    this.fault('write');
    const rows = new Map(this.rows);
    const writes: PreparedWrite[] = [];
    const base = { token, readSeq: this.#position.seq, ...(reply === undefined ? {} : { reply }) };
    let group: readonly (readonly Change[])[] = requests.length === 0 ? [[]] : [];
    let sync: SyncSection = { ...base, claims: group.map(() => []) };
    let message = group.length === 0 ? undefined : this.#encode(group, sync);
    for (const request of requests) {
      if (writes.at(-1)?.type === 'left-out') {
        writes.push({ type: 'left-out' });
        continue;
      }
      const ran = this.#run(request, rows);
      if (ran.type === 'rejected' || ran.changes.length === 0) {
        writes.push(ran.type === 'rejected' ? ran : { type: 'ran', value: ran.value, claims: [] });
        continue;
      }
      const claims = certified ? claimsOf(ran.changes) : [];
      const candidate = { ...sync, claims: [...sync.claims, claims.map(({ claim }) => claim)] };
      const larger = this.#encode([...group, ran.changes], candidate);
      if (larger.data.length > maxBytes) {
        const error = new AntiphonError('MESSAGE_TOO_LARGE', `the write does not fit into ${maxBytes} bytes`);
        writes.push(message === undefined ? { type: 'rejected', error } : { type: 'left-out' });
        continue;
      }
      group = [...group, ran.changes];
      [sync, message] = [candidate, larger];
      for (const change of ran.changes) applyTo(rows, change);
      writes.push({
        type: 'ran',
        value: ran.value,
        id: { origin: this.#me, counter: larger.lastCounter },
        claims,
      });
    }
    return Promise.resolve(this.#group(writes, message, group.flat(), token));
  }

  #group(
    writes: readonly PreparedWrite[],
    message: SealedMessage | undefined,
    changes: readonly Change[],
    token: string,
  ): PreparedGroup {
    let over = false;
    return {
      writes,
      ...(message && { message }),
      commit: (position) => {
        if (over) return Promise.reject(new AntiphonError('INTERNAL', 'the group has ended'));
        over = true;
        if (message === undefined) return Promise.resolve();
        if (position === undefined)
          return Promise.reject(new AntiphonError('INTERNAL', 'a group needs its place in the log'));
        for (const change of changes) applyTo(this.rows, change);
        const { firstCounter, lastCounter } = message;
        this.#sealed.push(message);
        this.#vector = { ...this.#vector, [this.#me]: lastCounter };
        this.#published = lastCounter;
        this.#position = position;
        const seq = position.seq;
        this.#outcomes.push({ origin: this.#me, firstCounter, lastCounter, token, seq, rejected: [] });
        return Promise.resolve();
      },
      rollback: () => {
        over = true;
        return Promise.resolve();
      },
    };
  }

  outcomeOf({ origin, counter }: TransactionId): Promise<GroupOutcome | undefined> {
    const outcome = this.#outcomes.findLast(
      (each) => each.origin === origin && each.firstCounter <= counter && counter <= each.lastCounter,
    );
    return Promise.resolve(outcome);
  }

  outcomes(fromSeq: number, limit: number): Promise<readonly GroupOutcome[]> {
    return Promise.resolve(this.#outcomes.filter(({ seq }) => seq >= fromSeq).slice(0, limit));
  }

  /** Nobody else writes here. */
  guardNumbering(): void {}

  seal(): Promise<number> {
    return Promise.resolve(0);
  }

  check(): Promise<void> {
    return Promise.resolve();
  }

  schemaCookie(): number {
    return this.cookie;
  }

  hasUnsealed(): boolean {
    return false;
  }

  unsealed(): number {
    return 0;
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
    if (position !== undefined) this.#position = movedTo(this.#position, position);
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
        this.#putAside(step);
        continue;
      }
      if (step.type === 'release') {
        const at = this.putAside.findIndex(({ id }) => id === step.id);
        if (at >= 0) this.putAside.splice(at, 1);
        if (at >= 0 && !step.arrived) this.#discarded++;
        continue;
      }
      if (step.type === 'gap' || step.type === 'no-gap') {
        this.#gaps =
          step.type === 'gap'
            ? withGap(this.#gaps, step.gap, this.#vector)
            : withoutGap(this.#gaps, step.origin);
        continue;
      }
      const changes =
        step.type === 'part'
          ? [...decodeChanges([step.batch.body], step.batch.tables)]
          : step.batch.transactions
              .slice(step.skip)
              .flatMap(({ counter, changes }) => (step.rejected?.includes(counter) === true ? [] : changes));
      if (changes.some(({ row }) => row[1] === this.refuses)) {
        const { generation } = request.position;
        this.#position = movedTo(this.#position, { generation, seq: step.seq - 1 });
        const error = new AntiphonError('CONSTRAINT', `the value ${this.refuses ?? ''} is refused`);
        return Promise.resolve({ transactions: index, rows, conflicts: 0, refused: { step: index, error } });
      }
      for (const change of changes) applyTo(this.rows, change);
      rows += changes.length;
      const { origin, firstCounter } = step.batch;
      const count = step.type === 'part' ? 1 : step.batch.transactions.length;
      const lastCounter = firstCounter + count - 1;
      this.#vector = { ...this.#vector, [origin]: lastCounter };
      this.#gaps = withoutArrived(this.#gaps, origin, lastCounter);
      if (origin === this.#me) this.#published = Math.max(this.#published, lastCounter);
      if (step.type === 'part' || step.batch.sync === undefined) continue;
      const { token } = step.batch.sync;
      const { seq, rejected = [] } = step;
      this.#outcomes.push({ origin, firstCounter, lastCounter, token, seq, rejected });
    }
    this.#position = request.position;
    return Promise.resolve({ transactions: request.steps.length, rows, conflicts: 0 });
  }

  #putAside({ seq, storedAtMs, origin, data, error }: ApplyStep & { type: 'quarantine' }): void {
    const id = (this.putAside.at(-1)?.id ?? 0) + 1;
    const { code, message } = error;
    const bytes = data.length;
    this.putAside.push({ id, seq, storedAtMs, origin, code, message, bytes, putAsideAtMs: storedAtMs, data });
  }

  quarantine(query: Parameters<Store['quarantine']>[0]): Promise<readonly QuarantinedMessage[]> {
    const { afterId, seq, limit } = query;
    const wanted = this.putAside.filter(
      (message) => message.id > afterId && (seq === undefined || message.seq === seq),
    );
    return Promise.resolve(wanted.slice(0, limit));
  }

  quarantinedData(id: number): Promise<Uint8Array | undefined> {
    return Promise.resolve(this.putAside.find((message) => message.id === id)?.data);
  }

  resumeFrom(counter: number): Promise<number> {
    this.#published = Math.max(this.#published, counter);
    this.#resumed = counter;
    return Promise.resolve(0);
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

  #write(request: WriteRequest<MapTransaction>): WriteOutcome {
    const ran = this.#run(request, this.rows);
    if (ran.type === 'rejected') return ran;
    const { value, changes } = ran;
    if (changes.length === 0) return { type: 'committed', value };
    for (const change of changes) applyTo(this.rows, change);
    return { type: 'committed', value, id: { origin: this.#me, counter: this.#seal(changes) } };
  }

  #run(request: WriteRequest<MapTransaction>, rows: ReadonlyMap<string, string>): Run {
    const changes: Change[] = [];
    try {
      const value = request.run({
        put: (k, v) => void changes.push({ op: 'insert', table: 0, row: [k, v] }),
        delete: (k) => void changes.push({ op: 'delete', table: 0, row: [k, rows.get(k) ?? null] }),
      });
      return { type: 'ran', value, changes };
    } catch (cause) {
      return { type: 'rejected', error: new AntiphonError('CONSTRAINT', String(cause), { cause }) };
    }
  }

  #seal(changes: readonly Change[]): number {
    const message = this.#encode([changes]);
    this.#vector = { ...this.#vector, [this.#me]: message.lastCounter };
    this.#sealed.push(message);
    // Published bytes are read back as the log will hold them.
    decodeBatches(message.data);
    return message.lastCounter;
  }

  /** Transactions after those that the vector has. */
  #encode(transactions: readonly (readonly Change[])[], sync?: SyncSection): SealedMessage {
    const firstCounter = (this.#vector[this.#me] ?? 0) + 1;
    const time = this.#clock?.tick() ?? 0;
    const data = encodeBatch({
      kind: 'transactions',
      origin: this.#me,
      firstCounter,
      epoch: 0,
      time,
      context: { ...this.#vector },
      schemaVersion: 1,
      tables: [DICTIONARY],
      ...(sync === undefined ? {} : { sync }),
      transactions: transactions.map((changes, index) => ({ counter: firstCounter + index, time, changes })),
    });
    return { firstCounter, lastCounter: firstCounter + transactions.length - 1, part: 0, last: true, data };
  }
}

function applyTo(rows: Map<string, string>, { op, row }: Change): void {
  if (op === 'delete') rows.delete(String(row[0]));
  else rows.set(String(row[0]), String(row[1]));
}

function claimsOf(changes: readonly Change[]): readonly NamedClaim[] {
  const keys = [...new Set(changes.map(({ row }) => String(row[0])))];
  return keys.map((key) => ({ claim: claimOf('row', 'kv', [key], 'exclusive'), table: 'kv', key: [key] }));
}
