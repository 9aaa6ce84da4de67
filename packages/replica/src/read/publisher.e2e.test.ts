import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, Random } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';
import { type Published, publishedIn, violationsIn } from '../testing/published.js';

const STREAM = 'ANTIPHON-CHANGES_shop';
/** On a busy machine. */
const PATIENCE_MS = 40_000;
const RESTART_MS = 100;
/** Of the last test: who is killed, and how often. The moments are the machine's. */
const SEED = process.env['ANTIPHON_CHAOS_SEED'] ?? '1';
const ROUNDS = Number(process.env['ANTIPHON_CHAOS_ROUNDS'] ?? 8);

/** A replica that publishes, in a process of its own, which is started again whenever it ends. */
class Publisher implements AsyncDisposable {
  #child: ChildProcess;
  #exited: Promise<unknown>;
  #disposed = false;
  state = '';

  constructor(
    private readonly cluster: ClusterFixture,
    readonly id: string,
  ) {
    writeFileSync(this.#program, programOf(cluster, id));
    [this.#child, this.#exited] = this.#spawn();
  }

  get #program(): string {
    return join(this.cluster.dir, `${this.id}.mjs`);
  }

  #spawn(): [ChildProcess, Promise<unknown>] {
    const child = spawn(process.execPath, [this.#program], { stdio: ['ignore', 'pipe', 'ignore'] });
    child.stdout.on('data', (data: Buffer) => (this.state = data.toString().trim().split('\n').at(-1) ?? ''));
    const exited = new Promise((resolve) => child.once('exit', resolve));
    // One that starts while the broker is away ends.
    void exited.then(async () => {
      this.state = '';
      await sleep(RESTART_MS);
      if (!this.#disposed && child === this.#child) [this.#child, this.#exited] = this.#spawn();
    });
    return [child, exited];
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  async killAndRestart(): Promise<void> {
    const before = this.#child;
    before.kill('SIGKILL');
    await eventually('it is started again', () => this.#child !== before, PATIENCE_MS);
  }

  async until(state: 'active' | 'standby'): Promise<void> {
    await eventually(`${this.id} is ${state}`, () => this.state === state, PATIENCE_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

function programOf(cluster: ClusterFixture, id: string): string {
  const built = (name: string): string =>
    JSON.stringify(new URL(`../../../${name}/dist/index.js`, import.meta.url));
  return `
    import { createReplica } from ${built('replica')};
    import { sqlite } from ${built('sqlite')};
    const replica = await createReplica({
      cluster: '${cluster.cluster}', id: '${id}', servers: '${cluster.server.url}',
      store: sqlite({ file: ${JSON.stringify(cluster.file(id))} }),
      topology: { mode: 'multi-primary' }, publish: { subject: 'shop.{table}.{op}' },
    });
    let said;
    setInterval(() => {
      const { state } = replica.status().publishing;
      if (state !== said) process.stdout.write(state + '\\n');
      said = state;
    }, 20);
    process.once('SIGTERM', () => replica.close().then(() => process.exit()));`;
}

const HAS_PYTHON = spawnSync('python3', ['--version']).status === 0;

/** The program of docs/publishing.md, which is started again whenever it ends. */
class PythonConsumer implements AsyncDisposable {
  readonly #file: string;
  readonly #program: string;
  readonly #server: URL;
  #child: ChildProcess | undefined;
  #exited: Promise<unknown> = Promise.resolve();
  #disposed = false;

  constructor(cluster: ClusterFixture) {
    const page = readFileSync(new URL('../../../../docs/publishing.md', import.meta.url), 'utf8');
    const [, text = ''] = /```python\n(.*?)```/s.exec(page) ?? [];
    this.#program = join(cluster.dir, 'consumer.py');
    this.#file = join(cluster.dir, 'handled.jsonl');
    this.#server = new URL(cluster.server.url);
    writeFileSync(this.#program, text);
    this.#start();
  }

  #start(): void {
    const { hostname, port } = this.#server;
    const child = spawn('python3', [this.#program, hostname, port, STREAM, this.#file], { stdio: 'ignore' });
    this.#child = child;
    this.#exited = new Promise((resolve) => child.once('exit', resolve)).then(async () => {
      if (this.#disposed) return;
      await sleep(50);
      if (!this.#disposed) this.#start();
    });
  }

  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  get handled(): readonly Published[] {
    if (!existsSync(this.#file)) return [];
    const lines = readFileSync(this.#file, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => {
      const { streamSeq, ...change } = JSON.parse(line) as Published['change'] & {
        readonly streamSeq: number;
      };
      return { seq: streamSeq, subject: '', messageId: '', change };
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.kill();
    await this.#exited;
  }
}

/** Two replicas that publish, and a third one that writes. */
class Trio implements AsyncDisposable {
  #written = 0;

  private constructor(
    readonly cluster: ClusterFixture,
    readonly writer: SqliteReplica,
    readonly one: Publisher,
    readonly two: Publisher,
  ) {}

  static async start(): Promise<Trio> {
    const cluster = await ClusterFixture.start();
    cluster.sql('w', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const writer = await cluster.replica('w');
    const one = new Publisher(cluster, 'a');
    const trio = new Trio(cluster, writer, one, new Publisher(cluster, 'b'));
    await trio.write(1);
    await eventually('somebody publishes', () => [one.state, trio.two.state].includes('active'), PATIENCE_MS);
    return trio;
  }

  get active(): Publisher {
    return this.one.state === 'active' ? this.one : this.two;
  }

  get standby(): Publisher {
    return this.active === this.one ? this.two : this.one;
  }

  /** Transactions of one to three changes. */
  async write(transactions: number): Promise<void> {
    for (let n = 0; n < transactions; n++)
      await this.writer.execute(
        Array.from({ length: 1 + (n % 3) }, () => ({
          sql: 'INSERT INTO t VALUES (?)',
          params: [++this.#written],
        })),
      );
  }

  /** Every change is there once, and in order. */
  async allPublished(): Promise<readonly Published[]> {
    const nats = await this.cluster.nats();
    let messages: readonly Published[] = [];
    await eventually(
      `${this.#written} changes are published`,
      async () => (messages = await publishedIn(nats, STREAM).catch(() => [])).length >= this.#written,
      PATIENCE_MS,
    );
    expect(violationsIn(messages)).toEqual([]);
    const ids = messages.map(({ change }) => change.key?.['id']);
    expect(ids).toEqual(Array.from({ length: this.#written }, (_, index) => index + 1));
    return messages;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.one[Symbol.asyncDispose]();
    await this.two[Symbol.asyncDispose]();
    await this.cluster[Symbol.asyncDispose]();
  }
}

describe('changes that several processes publish', () => {
  it('I17: come once each after kill -9 of the one that publishes', async () => {
    await using trio = await Trio.start();
    for (let round = 0; round < 3; round++) {
      const writing = trio.write(150);
      await sleep(50 + 100 * round);
      await trio.active.killAndRestart();
      await writing;
      await trio.allPublished();
    }
  });

  it('I17: come once each although a paused publisher wakes up behind its successor', async () => {
    await using trio = await Trio.start();
    const { active: old, standby: next } = trio;
    const writing = trio.write(150);
    await sleep(60);
    old.signal('SIGSTOP');
    await writing;
    await next.until('active');
    const more = trio.write(150);
    old.signal('SIGCONT');
    await more;
    await old.until('standby');
    await trio.write(20);
    await trio.allPublished();
  });

  it('I17: come once each while the broker is restarted', async () => {
    await using trio = await Trio.start();
    for (let round = 0; round < 2; round++) {
      const writing = trio.write(200);
      await sleep(40);
      await trio.cluster.server.stop();
      await sleep(300);
      await trio.cluster.restartServer();
      await writing;
      await trio.allPublished();
    }
  });

  it.skipIf(!HAS_PYTHON)(
    `I17: come once each to a consumer, whatever is killed (seed ${SEED})`,
    { timeout: (2 + ROUNDS) * PATIENCE_MS },
    async () => {
      await using trio = await Trio.start();
      await using consumer = new PythonConsumer(trio.cluster);
      const { cluster } = trio;
      const random = new Random(SEED);
      const kill: Readonly<Record<string, () => Promise<unknown>>> = {
        consumer: async () => consumer.kill(),
        publisher: () => trio.active.killAndRestart(),
        standby: () => trio.standby.killAndRestart(),
        'publisher and consumer': () => {
          consumer.kill();
          return trio.active.killAndRestart();
        },
        'a broker that is stopped': () => cluster.server.stop().then(() => cluster.restartServer()),
        'a broker that is killed': () => cluster.server.kill().then(() => cluster.restartServer()),
      };
      const steps: string[] = [];
      const victims = new Turns(Object.keys(kill), random);
      for (let round = 0; round < ROUNDS; round++) {
        const [victim, delayMs] = [victims.next(), Math.round(random.next() * 400)];
        steps.push(`${victim} after ${delayMs} ms`);
        const writing = trio.write(60);
        await sleep(delayMs);
        await kill[victim]?.();
        await writing;
      }
      const messages = await trio.allPublished();
      const ids = (of: readonly Published[]): unknown[] => of.map(({ change }) => change.key?.['id']);
      await eventually(
        'the consumer has all of it',
        () => consumer.handled.length >= messages.length,
        PATIENCE_MS,
      );
      expect(violationsIn(consumer.handled), steps.join(', ')).toEqual([]);
      expect(ids(consumer.handled), steps.join(', ')).toEqual(ids(messages));
    },
  );
});

/** Each once in an order by chance, then again in another one. */
class Turns {
  #left: string[] = [];

  constructor(
    private readonly all: readonly string[],
    private readonly random: Random,
  ) {}

  next(): string {
    if (this.#left.length === 0) this.#left = [...this.all];
    const [taken = ''] = this.#left.splice(Math.floor(this.random.next() * this.#left.length), 1);
    return taken;
  }
}
