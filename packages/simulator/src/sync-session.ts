import type { SessionPosition } from '@antiphon/replica';
import type { Random } from '@antiphon/testing';
import type { SyncContext } from './sync-context.js';
import { readValue } from './sync-readers.js';
import { REGISTER_COUNT } from './sync-tables.js';
import type { SyncWriteEnd, SyncWriters } from './sync-writers.js';
import { registerKey, writeRegisters } from './sync-workload.js';

const MEAN_MS = 100;
const TIMEOUT_MS = 1500;

/**
 * A client that does one thing at a time: writes on one replica, and reads what it wrote on
 * another.
 */
export class SyncSession {
  #position: SessionPosition | undefined;
  #stopped = false;

  constructor(
    private readonly context: SyncContext,
    private readonly writers: readonly SyncWriters[],
    private readonly name: string,
    private readonly random: Random,
    /** Of its next write; nobody else uses it or those after it. */
    private number: number,
  ) {}

  start(): void {
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#pass(-Math.log(1 - this.random.next()) * MEAN_MS);
      // Also while it waited: everybody else has come to rest by then.
      if (this.#stopped) return;
      const register = this.random.int(0, REGISTER_COUNT - 1);
      await (this.random.chance(0.5) ? this.#write(register) : this.#read(register));
    }
  }

  async #write(register: number): Promise<void> {
    const { sessions } = this.context;
    const writers = this.random.pick(this.writers);
    const acks = this.random.pick(['local', 'logged', 1, 'majority'] as const);
    const token = `${writers.id}#${this.number++}`;
    const handle = sessions.invoke(this.name, { kind: 'write', key: registerKey(register), value: token });
    const writing = writers.write(token, writeRegisters([register], token), { acks, timeoutMs: TIMEOUT_MS });
    const done = await this.#orGivenUp<SyncWriteEnd | undefined>(writing, { end: 'unknown' });
    if (done?.position === undefined) {
      return void sessions.complete(handle, {
        type: done?.end === 'rejected' || done === undefined ? 'failed' : 'unknown',
      });
    }
    this.#position = done.position;
    sessions.complete(handle, { type: 'ok' });
  }

  async #read(register: number): Promise<void> {
    const { sessions, nodes } = this.context;
    const node = this.random.pick(nodes);
    const after = this.#position;
    if (after === undefined || node.replica === undefined || node.paused) return;
    const handle = sessions.invoke(this.name, { kind: 'read', key: registerKey(register) });
    const options = { consistency: 'session', after, timeoutMs: TIMEOUT_MS } as const;
    const reading = readValue(node.replica, { register }, options).then(
      (value) => sessions.complete(handle, { type: 'ok', value }),
      () => sessions.complete(handle, { type: 'failed' }),
    );
    await this.#orGivenUp<unknown>(reading, undefined);
  }

  /** A process that was killed never answers. */
  #orGivenUp<T>(promise: Promise<T>, otherwise: T): Promise<T> {
    return Promise.race([promise, this.#pass(2 * TIMEOUT_MS).then(() => otherwise)]);
  }

  #pass(ms: number): Promise<void> {
    return new Promise((resolve) => void this.context.world.clock.setTimer(ms, resolve));
  }
}
