import type { History, Random } from '@antiphon/testing';
import type { LogModel } from './log-model.js';
import type { SimulatedNode, World } from './node.js';
import type { OrphansOfSqlite } from './orphans.js';
import type { SyncAnswers } from './sync-answers.js';
import type { Violations } from './violation.js';

/** What the clients of a synchronous cluster share. */
export interface SyncContext {
  readonly world: World;
  readonly nodes: readonly SimulatedNode[];
  readonly log: LogModel;
  readonly violations: Violations;
  /** What may be sealed twice: of `Ledger`. */
  readonly repeatable: ReadonlySet<string>;
  /** Of synchronous writes and strong reads. */
  readonly history: History;
  /** Of clients that read what they wrote, elsewhere. */
  readonly sessions: History;
  readonly answers: SyncAnswers;
  readonly orphans: OrphansOfSqlite;
  readonly mayWrite: (node: SimulatedNode) => boolean;
  readonly note: (event: string) => void;
}

/** Calls `work` again and again, at random times, until `isOver`. */
export function repeat(
  world: World,
  random: Random,
  meanMs: number,
  work: () => void,
  isOver: () => boolean,
): void {
  world.clock.setTimer(-Math.log(1 - random.next()) * meanMs, () => {
    if (isOver()) return;
    work();
    repeat(world, random, meanMs, work, isOver);
  });
}
