import { mkdtempSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AntiphonError } from '@antiphon/core';
import { compare } from './compare.js';
import { ForeignDatabase, messageOf } from './database.js';
import { Discrepancy } from './discrepancy.js';
import { Replicas } from './replicas.js';
import { RewindCheck } from './rewind-check.js';
import type { Script, Step } from './script.js';

export type Verdict =
  | { readonly type: 'passed' }
  /** Antiphon does not take this schema, and says why. */
  | { readonly type: 'refused'; readonly reason: string }
  | { readonly type: 'failed'; readonly kind: string; readonly detail: string };

const MEMORY = '/dev/shm';

/** Runs a script in a folder of its own, in memory where the system has such a place. */
export async function runScript(script: Script): Promise<Verdict> {
  const folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'antiphon-fuzz-'));
  const run = new Run(folder, script);
  try {
    return await run.run();
  } finally {
    await run.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

class Run {
  readonly #replicas: Replicas;
  readonly #rewind: RewindCheck;
  /** SQLite without Antiphon; only as long as one replica writes. */
  readonly #plain: ForeignDatabase | undefined;

  constructor(
    folder: string,
    private readonly script: Script,
  ) {
    this.#replicas = new Replicas(folder, script);
    this.#rewind = new RewindCheck(this.#replicas);
    // Hidden numbers of rows, and with them the order of rows, do not survive a rewind.
    this.#plain = script.writers === 1 && !script.failover ? new ForeignDatabase(':memory:') : undefined;
  }

  async run(): Promise<Verdict> {
    try {
      for (const statement of this.script.ddl) this.#plain?.db.exec(statement);
      for (const statement of this.script.setup) this.#plain?.attempt(statement);
    } catch (thrown) {
      return { type: 'refused', reason: `SQLite: ${messageOf(thrown)}` };
    }
    try {
      await this.#replicas.start();
    } catch (thrown) {
      if (thrown instanceof AntiphonError && thrown.code === 'UNSUPPORTED_TABLE')
        return { type: 'refused', reason: thrown.message };
      return failure(thrown);
    }
    this.#plain?.addIdleTriggers(this.#replicas.get('a').foreign);
    if (this.#replicas.tables.length === 0) return { type: 'refused', reason: 'no table can be replicated' };
    this.#rewind.note();
    try {
      for (const step of this.script.steps) {
        this.#replicas.pass(7);
        await this.#step(step);
      }
      await this.#step({ type: 'sync' });
      compare(this.#replicas, this.#plain, this.script, 'thoroughly');
      return { type: 'passed' };
    } catch (thrown) {
      return failure(thrown);
    }
  }

  async #step(step: Step): Promise<void> {
    const replicas = this.#replicas;
    switch (step.type) {
      case 'library':
        return this.#library(step.on, step.statements);
      case 'group':
        return this.#group(step.on, step.statements);
      case 'foreign':
        return this.#foreign(step);
      case 'drift':
        return this.#drift(step);
      case 'age':
        replicas.get(step.on).foreign.db.exec(agedOutbox(replicas.nowMs, step.upToMs));
        return;
      case 'restart':
        return replicas.restart(step.on);
      case 'publish':
        return replicas.publish(step.on);
      case 'deliver':
        return replicas.deliver(step.on, step.entries);
      case 'sync':
        if (this.script.failover) await this.#rewind.check();
        await replicas.synchronize();
        if (this.script.writers === 2) await replicas.synchronize();
        compare(replicas, this.#plain, this.script, 'quickly');
        return this.#rewind.note();
    }
  }

  /**
   * Statements run one after the other, whatever becomes of each; the errors must be SQLite's own.
   */
  async #library(on: string, statements: readonly string[]): Promise<void> {
    const errors: (string | undefined)[] = [];
    const { store } = this.#replicas.get(on);
    const [outcome] = await store.write([{ run: attempting(statements, errors) }]);
    if (outcome?.type === 'rejected' && isStoreFailure(outcome.error)) throw outcome.error;
    this.#repeat(statements, errors, outcome?.type === 'committed');
  }

  async #group(on: string, statements: readonly string[]): Promise<void> {
    const replicas = this.#replicas;
    const { store } = replicas.get(on);
    const errors: (string | undefined)[] = [];
    await store.seal();
    await replicas.publish(on);
    const group = await store.prepare([{ run: attempting(statements, errors) }], {
      token: replicas.token(),
      certified: true,
      maxBytes: 1_000_000,
    });
    if (group === undefined)
      throw new Discrepancy('group', 'something waits to be sealed though nothing was written');
    const { message } = group;
    if (message === undefined) await group.commit();
    else {
      await group.commit({ generation: 'g1', seq: replicas.append(message.data) });
      replicas.get(on).published = { counter: message.lastCounter, part: 0 };
    }
    this.#repeat(statements, errors, group.writes[0]?.type === 'ran');
  }

  #repeat(statements: readonly string[], errors: readonly (string | undefined)[], committed: boolean): void {
    const plain = this.#plain;
    if (plain === undefined) return;
    plain.set(true, false);
    plain.db.exec('BEGIN');
    let over = false;
    statements.forEach((statement, index) => {
      if (isOurs(errors[index]) || over) return;
      this.#same(statement, errors[index], plain.attempt(statement));
      over = !plain.db.isTransaction;
    });
    const error = over ? 'rolled back' : plain.attempt('COMMIT');
    if (plain.db.isTransaction) plain.db.exec('ROLLBACK');
    if ((error === undefined) !== committed)
      throw new Discrepancy(
        'commit',
        `${committed ? 'committed' : 'rejected'}, and SQLite says ${error ?? 'nothing'}`,
      );
  }

  #same(statement: string, ours: string | undefined, plain: string | undefined): void {
    // Which of two errors comes first is not promised.
    if ((ours === undefined) === (plain === undefined)) return;
    throw new Discrepancy(
      'error',
      `${statement}\n  captured: ${ours ?? 'no error'}\n  plain: ${plain ?? 'no error'}`,
    );
  }

  #foreign({ on, foreignKeys, recursiveTriggers, statements }: Extract<Step, { type: 'foreign' }>): void {
    const { foreign } = this.#replicas.get(on);
    foreign.set(foreignKeys, recursiveTriggers);
    this.#plain?.set(foreignKeys, recursiveTriggers);
    for (const statement of statements) {
      const error = foreign.attempt(statement);
      if (isOurs(error) || this.#plain === undefined) continue;
      this.#same(statement, error, this.#plain.attempt(statement));
      if (this.#plain.db.isTransaction !== foreign.db.isTransaction)
        throw new Discrepancy('error', `${statement}: the transaction is over for one of the two`);
    }
    for (const { db } of [foreign, ...(this.#plain === undefined ? [] : [this.#plain])])
      if (db.isTransaction) db.exec('ROLLBACK');
  }

  async #drift({ on, statements, add, drop }: Extract<Step, { type: 'drift' }>): Promise<void> {
    const { store } = this.#replicas.get(on);
    const asForeign = { type: 'foreign' as const, on, foreignKeys: true, recursiveTriggers: false };
    this.#foreign({ ...asForeign, statements: [add, ...statements] });
    const refusal: unknown = await store.seal().then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    const drifted = this.#replicas.get(on).foreign.attempt(`${drop}`);
    this.#plain?.attempt(drop);
    if (drifted === undefined && !(refusal instanceof AntiphonError && refusal.code === 'SCHEMA_DRIFT'))
      throw new Discrepancy('drift', `a column was added, and sealing says ${messageOf(refusal)}`);
  }

  async close(): Promise<void> {
    this.#plain?.close();
    await this.#replicas.close();
  }
}

function attempting(
  statements: readonly string[],
  errors: (string | undefined)[],
): (tx: { run(sql: string): unknown }) => void {
  return (tx) => {
    errors.length = 0;
    for (const statement of statements) {
      try {
        tx.run(statement);
        errors.push(undefined);
      } catch (thrown) {
        errors.push(messageOf(thrown));
      }
    }
  };
}

/** A refusal by one of our triggers: SQLite itself would have let the row in. */
function isOurs(error: string | undefined): boolean {
  return error?.startsWith('antiphon: ') === true;
}

function isStoreFailure(error: unknown): error is AntiphonError {
  return error instanceof AntiphonError && error.code === 'STORE_FAILED';
}

function agedOutbox(nowMs: number, upToMs: number): string {
  return `UPDATE _antiphon_outbox SET at = 2440587.5 + (${nowMs} - (seq * 7919) % ${upToMs + 1}) / 86400000.0 WHERE seq > 0`;
}

function failure(thrown: unknown): Verdict {
  if (thrown instanceof Discrepancy) return { type: 'failed', kind: thrown.kind, detail: thrown.detail };
  const code = thrown instanceof AntiphonError ? thrown.code : 'thrown';
  const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
  return { type: 'failed', kind: `${code}: ${messageOf(thrown)}`, detail: stack };
}
