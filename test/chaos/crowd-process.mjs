// Applications without a database of their own, many in one process: each has a connection, a
// session, and a random generator of its own. They write and read until they are told to end, and
// check what they read against what only they can know; the rest is checked by the test.
import { connect } from '@antiphon/client';
import { History, Random } from '@antiphon/testing';

const { cluster, servers, first, count, seed, pauseMs, loses } = JSON.parse(process.argv[2]);

const REGISTERS = 16;
const COUNTERS = 3;
const TIMEOUT_MS = 5000;
/** Of a read that any replica can answer: none of them may end with an error. */
const READ_TIMEOUT_MS = 30_000;
/** Of a write whose outcome is unknown; it is asked for again under its id. */
const MOST_CALLS = 5;
const NUMBERS = { integers: 'number' };
const REGISTER = 'SELECT value FROM registers WHERE id = ?';
const SET_REGISTER = `INSERT INTO registers (id, value, version) VALUES (?, ?, 1)
  ON CONFLICT (id) DO UPDATE SET value = excluded.value, version = version + 1`;
const INCREMENT = 'UPDATE counters SET value = value + 1 WHERE id = ?';
const BOTH = `SELECT value, (SELECT count(*) FROM done WHERE counter = ?1) AS done
  FROM counters WHERE id = ?1`;
const OWN = 'SELECT writer FROM hot WHERE k = ?';
const SET_OWN = `INSERT INTO hot (k, writer) VALUES (?, ?)
  ON CONFLICT (k) DO UPDATE SET writer = excluded.writer`;
/** Tells in the end what was written, and a second time of one write would be an error. */
const DONE = 'INSERT INTO done (id, counter) VALUES (?, ?)';

/** One clock for all processes of this machine. */
const history = new History({ now: () => Number(process.hrtime.bigint()) / 1e6 });
const report = {
  acknowledged: [],
  failed: [],
  unknown: [],
  faults: [],
  errors: {},
  done: {},
  slowestReadMs: 0,
};
/** Of each counter, by the clients of this process. */
const acknowledgedOf = new Array(COUNTERS).fill(0);
let ending = false;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const tally = (counts, name) => (counts[name] = (counts[name] ?? 0) + 1);

/** Whatever may happen while replicas come and go says so itself; anything else is a fault. */
function note(kind, error) {
  const { code = error.name, retriable = false } = error;
  tally(report.errors, `${kind} ${code}`);
  const isKnown = retriable || code === 'OUTCOME_UNKNOWN' || (loses && code === 'SESSION_LOST');
  if (!isKnown) report.faults.push(`${kind}: ${code} ${error.message}`);
}

/** Many at once take longer than NATS is waited for, on a busy machine. */
async function connected() {
  for (;;) {
    try {
      return await connect({ cluster, servers });
    } catch (error) {
      note('connect', error);
      await sleep(pauseMs);
    }
  }
}

class App {
  #random;
  #session;
  #writes = 0;
  /** Of its own row: what it has seen, and the newest that it has tried to write. */
  #seen = 0;
  #tried = 0;

  constructor(number) {
    this.number = number;
    this.name = `app-${number}`;
    this.#random = new Random(`${seed} ${number}`);
  }

  async run() {
    await sleep(this.#random.next() * pauseMs);
    const client = await connected();
    this.client = client;
    this.#session = client.session();
    while (!ending) {
      await this.#step();
      await sleep(pauseMs * (0.5 + this.#random.next()));
    }
    await client.close();
  }

  #step() {
    const roll = this.#random.next();
    if (roll < 0.35) return this.#readBoth();
    if (roll < 0.5) return this.#readOwn();
    if (roll < 0.6) return this.#readRegister();
    if (roll < 0.7) return this.#writeRegister();
    if (roll < 0.85) return this.#increment();
    return this.#writeOwn();
  }

  #draw(count) {
    return Math.floor(this.#random.next() * count);
  }

  /** The rows; undefined where it failed. */
  async #read(kind, read) {
    const startedMs = performance.now();
    try {
      const rows = await read();
      tally(report.done, kind);
      return rows;
    } catch (error) {
      note(kind, error);
      return undefined;
    } finally {
      if (kind === 'read')
        report.slowestReadMs = Math.max(report.slowestReadMs, performance.now() - startedMs);
    }
  }

  /** On whichever replica: all of a transaction, or nothing of it. */
  async #readBoth() {
    const counter = this.#draw(COUNTERS);
    const [isStrong, isBounded] = [this.#random.next() < 0.1, this.#random.next() < 0.3];
    const before = acknowledgedOf[counter];
    const promise = isStrong ? { consistency: 'strong' } : isBounded ? { maxLagMs: TIMEOUT_MS } : {};
    const kind = isStrong ? 'strong read' : isBounded ? 'bounded read' : 'read';
    const timeoutMs = kind === 'read' ? READ_TIMEOUT_MS : TIMEOUT_MS;
    const options = { ...NUMBERS, timeoutMs, ...promise };
    const rows = await this.#read(kind, () => this.client.query(BOTH, [counter], options));
    if (rows === undefined) return;
    const [{ value, done }] = rows;
    if (value !== done) report.faults.push(`counter ${counter} was ${value} with ${done} increments`);
    if (isStrong && !loses && value < before)
      report.faults.push(
        `a strong read of counter ${counter} was ${value} after ${before} acknowledged ones`,
      );
  }

  async #readOwn() {
    const session = this.#session;
    const rows = await this.#read('session read', () =>
      session.query(OWN, [this.number], { timeoutMs: TIMEOUT_MS }).catch((error) => {
        if (error.code === 'SESSION_LOST') this.#startAnew();
        throw error;
      }),
    );
    if (rows === undefined) return;
    const value = Number(rows[0]?.writer ?? 0);
    if (value < this.#seen || value > this.#tried)
      report.faults.push(`${this.name} read ${value} after ${this.#seen}, and has written ${this.#tried}`);
    this.#seen = Math.max(this.#seen, value);
  }

  #startAnew() {
    this.#session = this.client.session();
    this.#seen = 0;
  }

  async #readRegister() {
    const key = `r${this.#draw(REGISTERS)}`;
    const handle = history.invoke(this.name, { kind: 'read', key });
    const options = { consistency: 'strong', timeoutMs: TIMEOUT_MS };
    const rows = await this.#read('strong read', () => this.client.query(REGISTER, [key], options));
    history.complete(handle, rows ? { type: 'ok', value: rows[0]?.value ?? null } : { type: 'failed' });
  }

  async #writeRegister() {
    const [key, value] = [`r${this.#draw(REGISTERS)}`, this.#newId()];
    const handle = history.invoke(this.name, { kind: 'write', key, value });
    const type = await this.#write(this.client, value, [{ sql: SET_REGISTER, params: [key, value] }]);
    history.complete(handle, { type });
  }

  async #increment() {
    const counter = this.#draw(COUNTERS);
    const statements = [{ sql: INCREMENT, params: [counter], rows: 1 }];
    const type = await this.#write(this.client, this.#newId(), statements, counter);
    if (type === 'ok') acknowledgedOf[counter]++;
  }

  async #writeOwn() {
    const next = (this.#tried += 1);
    const statements = [{ sql: SET_OWN, params: [this.number, String(next)] }];
    const type = await this.#write(this.#session, this.#newId(), statements);
    if (type === 'ok') this.#seen = next;
  }

  #newId() {
    return `${this.name}-${this.#writes++}`;
  }

  /** What is certain of it: `ok`, `failed`, or nothing (`unknown`). */
  async #write(target, id, statements, counter = null) {
    const all = [...statements, { sql: DONE, params: [id, counter] }];
    let requestId;
    for (let call = 0; call < MOST_CALLS; call++) {
      try {
        await target.execute(all, { timeoutMs: TIMEOUT_MS, ...(requestId && { requestId }) });
        report.acknowledged.push(id);
        tally(report.done, 'write');
        return 'ok';
      } catch (error) {
        note('write', error);
        if (error.code === 'OUTCOME_UNKNOWN') requestId = error.id;
        else if (requestId === undefined) {
          report.failed.push(id);
          return 'failed';
        }
      }
    }
    report.unknown.push(id);
    return 'unknown';
  }
}

const apps = Array.from({ length: count }, (_, index) => new App(first + index));
process.on('unhandledRejection', (error) => report.faults.push(`unhandled: ${error?.stack ?? error}`));
process.on('message', async ({ type }) => {
  if (type !== 'end') return;
  ending = true;
  await running;
  process.send({ ...report, records: history.records() }, () => process.exit(0));
});
process.on('disconnect', () => process.exit(3));
const running = Promise.all(apps.map((app) => app.run())).catch((error) => {
  report.faults.push(`an application ended: ${error.stack}`);
});
