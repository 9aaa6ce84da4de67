import { createReplica, type Replica } from '@antiphon/replica';
import { createServer, type HttpServer } from '@antiphon/server';
import { sqlite, type SqliteTransaction } from '@antiphon/sqlite';
import { COLUMNS, benchRow } from '../rows.js';
import type { NodeProtocol, Noticed } from './protocol.js';
import { RowWatch } from './row-watch.js';
import { serve } from './serve.js';
import { SyncLoad } from './sync-load.js';
import { WriteLoad } from './write-load.js';

/** A replica as a library user runs it, in a process of its own. */
const ROWS_PER_STATEMENT = 50;
const VALUES = `(${COLUMNS.map(() => '?').join(', ')})`;
const INSERT_ONE = `INSERT INTO orders VALUES ${VALUES}`;
const INSERT_MANY = `INSERT INTO orders VALUES ${Array.from({ length: ROWS_PER_STATEMENT }, () => VALUES).join(', ')}`;
const POLL_MS = 2;
const CAUGHT_UP_TIMEOUT_MS = 600_000;

let replica: Replica<SqliteTransaction> | undefined;
let watch: RowWatch | undefined;
let syncLoad: SyncLoad | undefined;
let writeLoad: WriteLoad | undefined;
let noticed: Noticed = { epochs: [], electionsNs: [] };
/** As the elector calls its alarm. */
const ELECTION = 'election';
let file = '';
let http: HttpServer | undefined;

function running(): Replica<SqliteTransaction> {
  if (replica === undefined) throw new Error('the replica was not started');
  return replica;
}

function appliedOf(origin: string): number {
  return running().status().vector[origin] ?? 0;
}

function insertRows(tx: SqliteTransaction, firstId: number, count: number): void {
  let id = firstId;
  for (const end = firstId + count; id + ROWS_PER_STATEMENT <= end;) {
    const values: (number | string)[] = [];
    for (const last = id + ROWS_PER_STATEMENT; id < last; id += 1) values.push(...benchRow(id));
    tx.run(INSERT_MANY, values);
  }
  for (; id < firstId + count; id += 1) tx.run(INSERT_ONE, benchRow(id));
}

async function notice(of: Replica<SqliteTransaction>): Promise<void> {
  for await (const event of of.events()) {
    const atNs = process.hrtime.bigint();
    const { epochs, electionsNs } = noticed;
    if (event.type === 'epoch') {
      const { number, primary, why = '' } = event.epoch;
      noticed = { electionsNs, epochs: [...epochs, { number, primary, why, atNs }] };
    }
    if (event.type === 'alarm' && event.phase === 'begin' && event.alarm.name === ELECTION)
      noticed = { epochs, electionsNs: [...electionsNs, atNs] };
  }
}

const methods: NodeProtocol = {
  async start(request) {
    file = request.file;
    const { cluster, id, servers, topology, update = { mode: 'async' }, failover, publish } = request;
    const startedNs = process.hrtime.bigint();
    const started = await createReplica({
      ...{ cluster, id, servers, topology, update, store: sqlite({ file }) },
      ...(failover !== undefined && { failover }),
      ...(publish !== undefined && { publish }),
    });
    replica = started;
    if (failover !== undefined) void notice(started);
    await started.caughtUp({ timeoutMs: CAUGHT_UP_TIMEOUT_MS });
    return { startedNs, endedNs: process.hrtime.bigint(), counter: 0 };
  },

  async load({ firstId, rows, rowsPerTransaction }) {
    const startedNs = process.hrtime.bigint();
    let counter = 0;
    for (let from = 0; from < rows; from += rowsPerTransaction) {
      const count = Math.min(rowsPerTransaction, rows - from);
      const { id } = await running().transaction((tx) => insertRows(tx, firstId + from, count));
      counter = id?.counter ?? counter;
    }
    return { startedNs, endedNs: process.hrtime.bigint(), counter };
  },

  async singles({ firstId, transactions, writers }) {
    const startedNs = process.hrtime.bigint();
    let [next, counter] = [0, 0];
    const write = async (): Promise<void> => {
      while (next < transactions) {
        const row = benchRow(firstId + next);
        next += 1;
        const { id } = await running().transaction((tx) => tx.run(INSERT_ONE, row));
        counter = Math.max(counter, id?.counter ?? 0);
      }
    };
    await Promise.all(Array.from({ length: writers }, write));
    return { startedNs, endedNs: process.hrtime.bigint(), counter };
  },

  async inSync({ members, timeoutMs }) {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const { inSync = [] } = running().status().sync ?? {};
      if (members.every((member) => inSync.includes(member))) return;
      if (performance.now() > deadline)
        throw new Error(`in sync are only ${inSync.join(', ')} after ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  },

  syncWrites(request) {
    syncLoad = new SyncLoad(running(), request);
    return syncLoad.run();
  },

  async enough() {
    syncLoad?.end();
  },

  async reached({ origin, counter, timeoutMs }) {
    const deadline = performance.now() + timeoutMs;
    while (appliedOf(origin) < counter) {
      if (performance.now() > deadline)
        throw new Error(`${origin}:${counter} was not applied within ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return process.hrtime.bigint();
  },

  async applied({ origin }) {
    return appliedOf(origin);
  },

  async watch() {
    watch = new RowWatch(file);
  },

  visible({ id, timeoutMs }) {
    if (watch === undefined) throw new Error('watch was not called');
    return watch.visible(id, timeoutMs);
  },

  async beginWrites(request) {
    writeLoad = new WriteLoad(running(), request);
  },

  async firstWritten({ origin, timeoutMs }) {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const ns = writeLoad?.first(origin);
      if (ns !== undefined) return ns;
      if (performance.now() > deadline) throw new Error(`no write of ${origin} within ${timeoutMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  },

  async endWrites() {
    if (writeLoad === undefined) throw new Error('beginWrites was not called');
    return writeLoad.end();
  },

  async noticed() {
    return noticed;
  },

  async switchOver({ to }) {
    const { tookMs } = await running().switchOver(to);
    return tookMs;
  },

  async serveHttp() {
    http = await createServer(running(), { listen: '127.0.0.1:0' });
    return http.url;
  },

  async serveReads({ serves }) {
    if (serves) running().reads.resume();
    else running().reads.drain();
  },

  async published({ seq, timeoutMs }) {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const { publishedSeq = 0, problem = 'it is not at it' } = running().status().publishing ?? {};
      if (publishedSeq >= seq) return { seq: publishedSeq, atNs: process.hrtime.bigint() };
      if (performance.now() > deadline)
        throw new Error(`${publishedSeq} of ${seq} changes are published after ${timeoutMs} ms: ${problem}`);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  },

  async stop() {
    watch?.close();
    await http?.close();
    await replica?.close();
  },
};

serve(methods as unknown as Parameters<typeof serve>[0]);
