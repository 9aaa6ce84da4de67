import { toAntiphonError } from '@antiphon/core';
import type { CommittedChange, Subscription } from '@antiphon/replica';
import type { Random } from '@antiphon/testing';
import type { LogModel } from './log-model.js';
import type { SimulatedNode, World } from './node.js';
import type { Violations } from './violation.js';

/** Short, so that others take over within a run. */
const LEASE_MS = 1000;
const LOOK_MS = 400;
/** A handler takes its time. */
const LONGEST_WORK_MS = 60;
const ACK_CHANCE = 0.5;
/** It gives its place away, as at an upgrade. */
const LEAVE_CHANCE = 0.03;
/** It ends from outside, whatever it is doing then: standing by, taking the place, delivering. */
const END_CHANCE = 0.4;
const [TAKING_MS, SERVING_MS] = [40, 4000] as const;

interface Instance {
  readonly node: SimulatedNode;
  /** The process that it is in. */
  readonly process: number;
  readonly subscription: Subscription<CommittedChange>;
  /** What it got, in order. */
  readonly delivered: string[];
}

export interface Service {
  readonly name: string;
  /** Where its subscription begins, and when: milliseconds after the start. */
  readonly from: 'beginning' | 'now';
  readonly afterMs: number;
}

/**
 * A service with an instance in every process, which share one durable subscription. What they get
 * and what was acknowledged is kept here: I16.
 */
export class Subscribers {
  readonly counts = { deliveries: 0, takeovers: 0, ended: 0 };
  readonly #instances = new Map<SimulatedNode, Instance>();
  /** The changes that came, by transaction. */
  readonly #got = new Map<string, Set<string>>();
  /** An acknowledgement of it, or of one behind it, was confirmed. */
  readonly #acknowledged = new Set<string>();
  /** The last transaction of each origin that came for the first time. */
  readonly #last = new Map<string, number>();
  #epoch = 0;
  /** What comes into the log behind this entry is to be delivered. Undefined: nobody was active. */
  #beginSeq: number | undefined;

  constructor(
    private readonly service: Service,
    private readonly world: World,
    private readonly nodes: readonly SimulatedNode[],
    private readonly random: Random,
    private readonly violations: Violations,
    private readonly note: (event: string) => void,
  ) {}

  /** For ever: what was missed in the trouble comes after it. */
  start(): void {
    this.world.clock.setTimer(this.service.afterMs, () => this.#lookAgain());
  }

  #lookAgain(): void {
    this.world.clock.setTimer(LOOK_MS, () => {
      for (const node of this.nodes) this.#begin(node);
      for (const { subscription } of this.#instances.values())
        if (subscription.epoch !== undefined) this.#beginSeq ??= this.#endOfLog();
      this.#lookAgain();
    });
  }

  #endOfLog(): number {
    return this.service.from === 'beginning' ? 0 : (this.world.log.entries().at(-1)?.seq ?? 0);
  }

  hasAll(log: LogModel): boolean {
    return this.#differing(log).length === 0;
  }

  check(log: LogModel): void {
    for (const what of this.#differing(log).slice(0, 5)) this.#wrong('', what);
    const known = new Set(log.transactions.map(({ origin, counter }) => `${origin}:${counter}`));
    for (const id of this.#got.keys())
      if (!known.has(id)) this.#wrong('', `subscribers got ${id}, which was never committed`);
  }

  #differing(log: LogModel): readonly string[] {
    const { name } = this.service;
    const beginSeq = this.#beginSeq;
    if (beginSeq === undefined) return [`no instance of ${name} was ever active`];
    return log.transactions.flatMap(({ origin, counter, changes, seq = 0 }) => {
      if (seq <= beginSeq) return [];
      const got = this.#got.get(`${origin}:${counter}`)?.size ?? 0;
      const what = `subscribers of ${name} got ${got} of ${changes.length} changes of ${origin}:${counter}`;
      return got === changes.length ? [] : [what];
    });
  }

  #begin(node: SimulatedNode): void {
    const { replica } = node;
    if (replica === undefined || node.paused || this.#instances.get(node)?.process === node.starts) return;
    const { name, from } = this.service;
    const ending = new AbortController();
    const subscription = replica.subscribe(name, { from, leaseMs: LEASE_MS, signal: ending.signal });
    const instance: Instance = { node, process: node.starts, subscription, delivered: [] };
    this.#instances.set(node, instance);
    if (this.random.chance(END_CHANCE)) void this.#endLater(instance, ending);
    this.#consume(instance)
      .catch((thrown: unknown) => this.#failed(instance, thrown))
      .finally(() => {
        if (this.#instances.get(node) === instance) this.#instances.delete(node);
      });
  }

  async #endLater(instance: Instance, ending: AbortController): Promise<void> {
    await this.#sleep(this.random.int(0, this.random.chance(0.5) ? TAKING_MS : SERVING_MS));
    await this.#whileRunning(instance);
    if (this.random.chance(0.5)) ending.abort();
    else await instance.subscription.close();
    this.counts.ended++;
  }

  async #consume(instance: Instance): Promise<void> {
    const { subscription } = instance;
    for await (const change of subscription) {
      await this.#whileRunning(instance);
      this.#took(instance, change, subscription.epoch ?? 0);
      if (this.random.chance(0.2)) await this.#sleep(this.random.int(1, LONGEST_WORK_MS));
      await this.#whileRunning(instance);
      if (this.random.chance(ACK_CHANCE)) this.#acknowledge(instance, change);
      if (this.random.chance(LEAVE_CHANCE)) break;
    }
  }

  #took({ node, delivered }: Instance, { id, table, op, cursor }: CommittedChange, epoch: number): void {
    const transaction = `${id.origin}:${id.counter}`;
    // Its number in the transaction or in the group, whoever delivers it.
    const change = `${transaction} ${table} ${op} ${cursor.split('.')[1]}`;
    this.counts.deliveries++;
    if (epoch !== 0 && epoch < this.#epoch)
      this.#wrong(node.id, `it got ${change} in epoch ${epoch}, after epoch ${this.#epoch} had begun`);
    if (epoch > this.#epoch) {
      this.counts.takeovers++;
      this.#epoch = epoch;
      this.note(`${node.id} is the subscriber of ${this.service.name}, epoch ${epoch}`);
    }
    if (this.#acknowledged.has(change)) this.#wrong(node.id, `it got ${change}, which was acknowledged`);
    delivered.push(change);
    const got = this.#got.get(transaction) ?? new Set();
    this.#got.set(transaction, got);
    if (got.has(change)) return;
    got.add(change);
    const last = this.#last.get(id.origin) ?? 0;
    if (id.counter < last) this.#wrong(node.id, `it got ${change} after ${id.origin}:${last}`);
    this.#last.set(id.origin, Math.max(last, id.counter));
  }

  #acknowledge(instance: Instance, change: CommittedChange): void {
    const upTo = instance.delivered.length;
    instance.subscription.ack(change).then(
      () => instance.delivered.slice(0, upTo).forEach((id) => this.#acknowledged.add(id)),
      (thrown: unknown) => {
        const { code } = toAntiphonError(thrown);
        if (code === 'BAD_OPTION') this.#wrong(instance.node.id, 'it could not acknowledge what it got');
      },
    );
  }

  /** What a process has in hand waits while it is paused, and is lost when it is killed. */
  async #whileRunning({ node, process }: Instance): Promise<void> {
    while (node.paused) await this.#sleep(LOOK_MS);
    if (node.starts !== process || !node.running) await new Promise(() => undefined);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.world.clock.setTimer(delayMs, resolve);
    });
  }

  #failed({ node }: Instance, thrown: unknown): void {
    const { code, message } = toAntiphonError(thrown);
    this.note(`the subscriber on ${node.id} ended: ${code}: ${message}`);
    if (code === 'PLACE_LOST') this.#wrong(node.id, `its subscription has no place any more: ${message}`);
  }

  #wrong(replica: string, message: string): void {
    this.violations.add('I16', replica, message);
  }
}
