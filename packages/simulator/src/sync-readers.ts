import { AntiphonError } from '@antiphon/core';
import type { SessionPosition } from '@antiphon/replica';
import type { Random, RegisterValue } from '@antiphon/testing';
import type { SimulatedNode } from './node.js';
import { repeat, type SyncContext } from './sync-context.js';
import { numberOf } from './row-statements.js';
import { COUNTER_COUNT, REGISTER_COUNT } from './sync-tables.js';
import { counterKey, registerKey } from './sync-workload.js';

const MEAN_MS = 120;
const TIMEOUT_MS = 3000;

/**
 * Reads with `strong` consistency, wherever it happens to be, and with `session` after what was
 * written somewhere.
 */
export class SyncReaders {
  strongReads = 0;
  sessionReads = 0;
  readonly wrong: string[] = [];
  #number = 0;
  #stopped = false;

  constructor(
    private readonly context: SyncContext,
    private readonly random: Random,
  ) {}

  start(): void {
    repeat(
      this.context.world,
      this.random,
      MEAN_MS,
      () => void this.#readOne(),
      () => this.#stopped,
    );
  }

  stop(): void {
    this.#stopped = true;
  }

  #readOne(): Promise<void> {
    const node = this.random.pick(this.context.nodes);
    const register = this.random.int(0, REGISTER_COUNT - 1);
    const counter = BigInt(this.random.int(0, COUNTER_COUNT - 1));
    const ofCounter = this.random.chance(0.4);
    return this.read(node, ofCounter ? { counter } : { register }, TIMEOUT_MS);
  }

  async read(
    node: SimulatedNode,
    what: { readonly counter: bigint } | { readonly register: number },
    timeoutMs: number,
  ): Promise<void> {
    if (node.replica === undefined || node.paused) return;
    const { history } = this.context;
    const key = 'counter' in what ? counterKey(what.counter) : registerKey(what.register);
    const handle = history.invoke(`reader ${++this.#number}`, { kind: 'read', key });
    try {
      const value = await readValue(node.replica, what, { consistency: 'strong', timeoutMs });
      history.complete(handle, { type: 'ok', value });
      this.strongReads++;
    } catch (error) {
      history.complete(handle, { type: 'failed' });
      this.#refused(error, `a strong read of ${key} on ${node.id}`);
    }
  }

  /** Read your writes, on another replica. */
  async session(name: string, position: SessionPosition): Promise<void> {
    const node = this.random.pick(this.context.nodes);
    if (this.#stopped || node.replica === undefined || node.paused) return;
    try {
      await node.replica.query('SELECT 1', [], {
        consistency: 'session',
        after: position,
        timeoutMs: TIMEOUT_MS,
      });
      this.sessionReads++;
      if (!this.context.answers.holds(node.id, name))
        this.context.violations.add('I12', node.id, `a session read after ${name} does not show it`);
    } catch (error) {
      this.#refused(error, `a session read after ${name} on ${node.id}`);
    }
  }

  #refused(error: unknown, what: string): void {
    const expected = ['TIMEOUT', 'LOG_UNAVAILABLE', 'CLOSED', 'ABORTED'];
    if (this.context.world.options.features.schemaChanges) expected.push('SCHEMA_DRIFT');
    if (error instanceof AntiphonError && expected.includes(error.code)) return;
    this.wrong.push(`${what} failed with ${String(error)}`);
  }
}

type Readable = NonNullable<SimulatedNode['replica']>;

export async function readValue(
  replica: Readable,
  what: { readonly counter: bigint } | { readonly register: number },
  options: Parameters<Readable['query']>[2],
): Promise<RegisterValue> {
  if ('counter' in what) {
    const [row] = await replica.query('SELECT value FROM counters WHERE id = ?', [what.counter], options);
    return numberOf(row?.['value']);
  }
  const [row] = await replica.query(
    'SELECT token FROM registers WHERE id = ?',
    [BigInt(what.register)],
    options,
  );
  const token = row?.['token'];
  return typeof token === 'string' ? token : null;
}
