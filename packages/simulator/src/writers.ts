import { AntiphonError } from '@antiphon/core';
import type { Random } from '@antiphon/testing';
import type { SimulatedNode, World } from './node.js';
import { chooseStatements } from './random-writes.js';
import type { Table } from './schema/index.js';
import type { WrittenTimes } from './written-times.js';
import { chooseWrite, type Write } from './workload.js';

export interface WriteCounts {
  committed: number;
  /** By another program, also while no replica runs. */
  outside: number;
  refused: number;
}

const RANDOM_SHARE = 0.5;

/** Keeps writing to one replica, through it and behind its back. */
export class Writers {
  readonly counts: WriteCounts = { committed: 0, outside: 0, refused: 0 };
  /** Tokens of writes that a caller was told are committed. */
  readonly acknowledged: string[] = [];
  readonly wrong: string[] = [];
  /** Random ones, which get a share of the writes. */
  tables: readonly Table[] = [];
  #number = 0;
  #stopped = false;
  /** By token, the number of the process that is to answer. */
  readonly #open = new Map<string, number>();

  constructor(
    private readonly world: World,
    private readonly node: SimulatedNode,
    private readonly random: Random,
    private readonly mayWrite: boolean,
    private readonly times?: WrittenTimes,
  ) {}

  start(): void {
    const { clock, options } = this.world;
    clock.setTimer(-Math.log(1 - this.random.next()) * options.meanWriteMs, () => {
      if (this.#stopped) return;
      this.#write();
      this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
  }

  #write(): void {
    const number = ++this.#number;
    const token = `${this.node.id}#${number}`;
    const { moves } = this.world.options.features;
    // A cluster is not created from whatever a random statement leaves.
    const usable = this.tables.length > 0 && this.node.database.isReplica;
    const onRandomTables = usable && this.random.chance(RANDOM_SHARE);
    const write = onRandomTables
      ? chooseStatements(this.random, this.tables, [this.node.id, number, token])
      : chooseWrite(this.random, this.node.id, token, number, moves);
    const outside = this.random.chance(0.35);
    const carelessly = onRandomTables && this.random.chance(0.2);
    if (this.node.database.tableNames().length === 0) return;
    if (outside) return this.#writeOutside(write, token, number, carelessly);
    const { replica } = this.node;
    if (replica === undefined) return;
    if (this.node.paused && this.world.options.features.takeovers) return;
    this.#open.set(token, this.node.starts);
    replica.transaction(write, { timeoutMs: 5000 }).then(
      () => {
        this.#open.delete(token);
        this.counts.committed++;
        this.acknowledged.push(token);
        if (!this.mayWrite) this.wrong.push(`${token} was accepted by a replica that must not write`);
      },
      (error: unknown) => {
        this.#open.delete(token);
        this.#refused(error, token);
      },
    );
  }

  /** A write waits for its answer, in a process that can still give one. */
  get isWaiting(): boolean {
    return [...this.#open.values()].includes(this.node.starts);
  }

  #writeOutside(write: Write, token: string, number: number, carelessly: boolean): void {
    const before = this.node.database.commits;
    try {
      if (carelessly) this.node.database.writeCarelessly(write);
      else this.node.database.writeOutside(write, number);
      this.counts.outside++;
      this.times?.note(this.node, token, this.world.log.entries().at(-1)?.seq ?? 0);
    } catch (error) {
      this.#refused(error, token);
      if (this.node.database.commits !== before) this.wrong.push(`${token} was refused and committed`);
    }
  }

  #refused(error: unknown, token: string): void {
    this.counts.refused++;
    const expected = [
      'CONSTRAINT',
      'STORE_BUSY',
      'STORE_FULL',
      'CLOCK_SKEW',
      'NOT_WRITABLE',
      'TIMEOUT',
      'OVERLOADED',
      'CLOSED',
      'ACTOR_STOPPED',
      'UNKNOWN_TABLE',
      // A statement with OR ROLLBACK, and a table that somebody has changed.
      ...(this.tables.length > 0 ? ['BAD_SQL', 'SCHEMA_DRIFT'] : []),
    ];
    if (error instanceof AntiphonError && expected.includes(error.code)) return;
    this.wrong.push(`${token} failed with ${String(error)}`);
  }
}
