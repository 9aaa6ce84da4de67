import { spawn, type ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { eventually } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { ClusterFixture, type SqliteReplica } from '../testing/cluster-fixture.js';

const LEASE_MS = 2000;
/** Of the lease, what a standby needs to notice that it is over, on a busy machine. */
const TAKEOVER_MS = LEASE_MS + 15_000;

interface Line {
  readonly event: 'active' | 'change' | 'acked' | 'failed' | 'ended';
  readonly id?: number;
  readonly epoch?: number;
  readonly code?: string;
}

/** A service of its own process: acknowledges every change, and says what it sees. */
class Service implements AsyncDisposable {
  readonly lines: Line[] = [];
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;

  constructor(
    cluster: ClusterFixture,
    readonly id: string,
  ) {
    const program = join(cluster.dir, `${id}.mjs`);
    writeFileSync(program, programOf(cluster, id));
    this.#child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#exited = new Promise((resolve) => this.#child.once('exit', resolve));
    const reading = createInterface({ input: this.#child.stdout! });
    reading.on('line', (line) => this.lines.push(JSON.parse(line) as Line));
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  of(event: Line['event']): Line[] {
    return this.lines.filter((line) => line.event === event);
  }

  ids(event: 'change' | 'acked'): number[] {
    return this.of(event).map(({ id }) => id!);
  }

  async until(event: Line['event'], count = 1): Promise<void> {
    await eventually(`${this.id}: ${event}`, () => this.of(event).length >= count, TAKEOVER_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
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
    const say = (line) => process.stdout.write(JSON.stringify(line) + '\\n');
    const replica = await createReplica({
      cluster: '${cluster.cluster}', id: '${id}', servers: '${cluster.server.url}',
      store: sqlite({ file: ${JSON.stringify(cluster.file(id))} }),
      topology: { mode: 'multi-primary' },
    });
    process.once('SIGTERM', () => replica.close());
    const subscription = replica.subscribe('mailer', { leaseMs: ${LEASE_MS}, from: 'beginning' });
    const watching = setInterval(() => {
      if (subscription.epoch === undefined) return;
      say({ event: 'active', epoch: subscription.epoch });
      clearInterval(watching);
    }, 20);
    try {
      for await (const change of subscription) {
        const id = Number(change.key.id);
        say({ event: 'change', id });
        await new Promise((resolve) => setTimeout(resolve, 5));
        subscription.ack(change).then(
          () => say({ event: 'acked', id }),
          ({ code }) => say({ event: 'failed', id, code }),
        );
      }
      say({ event: 'ended' });
    } catch (error) {
      say({ event: 'ended', code: error.code });
      await replica.close();
    }
    clearInterval(watching);`;
}

/** One active instance, one that stands by, and somebody else who writes. */
class Pair implements AsyncDisposable {
  private constructor(
    private readonly cluster: ClusterFixture,
    readonly writer: Writer,
    readonly one: Service,
    readonly two: Service,
  ) {}

  static async start(): Promise<Pair> {
    const cluster = await ClusterFixture.start();
    cluster.sql('w', 'CREATE TABLE t (id INTEGER PRIMARY KEY)');
    const writer = new Writer(await cluster.replica('w'));
    const one = new Service(cluster, 'a');
    await one.until('active');
    return new Pair(cluster, writer, one, new Service(cluster, 'b'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const service of [this.one, this.two]) await service[Symbol.asyncDispose]();
    await this.cluster[Symbol.asyncDispose]();
  }
}

class Writer {
  #written = 0;

  constructor(private readonly replica: SqliteReplica) {}

  async write(count: number): Promise<void> {
    for (const end = this.#written + count; this.#written < end;)
      await this.replica.execute([{ sql: 'INSERT INTO t VALUES (?)', params: [++this.#written] }]);
  }

  get ids(): number[] {
    return Array.from({ length: this.#written }, (_, index) => index + 1);
  }
}

/**
 * At least once and in order: what the second one got goes on where the first one's confirmed acks
 * ended.
 */
function expectHandedOver(first: Service, second: Service, all: readonly number[]): void {
  const [delivered, acked] = [first.ids('change'), first.ids('acked')];
  const confirmed = Math.max(0, ...acked);
  expect(delivered).toEqual(all.slice(0, delivered.length));
  const begin = second.ids('change')[0]!;
  expect(begin).toBeGreaterThan(confirmed);
  expect(begin).toBeLessThanOrEqual(delivered.length + 1);
  expect(second.ids('change')).toEqual(all.slice(begin - 1));
}

describe('a durable subscription of several processes', () => {
  it('I16: kill -9 of the active one: a standby goes on after what was acknowledged', async () => {
    await using pair = await Pair.start();
    const { writer, one, two } = pair;
    await writer.write(50);
    await one.until('acked', 10);
    one.signal('SIGKILL');
    await writer.write(20);
    await two.until('active');
    await eventually('the rest is acknowledged', () => two.ids('acked').at(-1) === 70, TAKEOVER_MS);
    expectHandedOver(one, two, writer.ids);
    expect([one.of('active')[0]?.epoch, two.of('active')[0]?.epoch]).toEqual([1, 2]);
  });

  it('I16: SIGSTOP of the active one: a standby takes over, and it is fenced when it wakes up', async () => {
    await using pair = await Pair.start();
    const { writer, one, two } = pair;
    await writer.write(50);
    await one.until('acked', 5);
    one.signal('SIGSTOP');
    await two.until('active');
    await writer.write(20);
    await eventually('the rest is acknowledged', () => two.ids('acked').at(-1) === 70, TAKEOVER_MS);
    const before = one.lines.length;
    one.signal('SIGCONT');
    await one.until('ended');
    expect(one.of('ended')[0]?.code).toBe('SUBSCRIPTION_LOST');
    const late = one.lines.slice(before);
    // Of what it had in hand nothing counts, and nothing more was delivered to it.
    expect(late.filter(({ event }) => event === 'change' || event === 'active')).toEqual([]);
    for (const { code } of one.of('failed')) expect(code).toBe('SUBSCRIPTION_LOST');
    expectHandedOver(one, two, writer.ids);
  });

  it('SIGTERM of the active one: a standby takes over well before its lease is over', async () => {
    await using pair = await Pair.start();
    const { writer, one, two } = pair;
    await writer.write(30);
    await one.until('acked', 5);
    one.signal('SIGTERM');
    await one.until('ended');
    expect(one.of('ended')).toEqual([{ event: 'ended' }]);
    await eventually('the rest is acknowledged', () => two.ids('acked').at(-1) === 30, TAKEOVER_MS);
    // A close confirms what was acknowledged: only what was in hand comes again.
    expectHandedOver(one, two, writer.ids);
    expect(two.ids('change').length + one.ids('acked').length).toBeLessThanOrEqual(31);
  });
});
