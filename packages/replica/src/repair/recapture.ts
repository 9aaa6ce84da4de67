import type { ActorRef } from '@antiphon/actor';
import {
  AntiphonError,
  checkOptions,
  shellWord,
  toAntiphonError,
  type KeptTable,
  type OptionNames,
  type RecaptureReport,
  type Recapturing,
  replicatedNames,
} from '@antiphon/core';
import { Deadline, retryingUntilAborted } from '../wait/deadline.js';
import { KnownState } from './known-state.js';
import type { ReplicaProtocol } from '../state/protocols.js';
import type { Scope } from '../state/scope.js';
import type { Writer } from '../write/writer.js';

/** How to recapture a table. */
export interface RecaptureOptions {
  /**
   * Says what differs and changes nothing.
   * @defaultValue false
   */
  readonly dryRun?: boolean;
  /**
   * Also when all rows of the table, or more than half of more than ten, would be deleted
   * everywhere; that is DELETES_ROWS otherwise.
   * @defaultValue false
   */
  readonly deleteRows?: boolean;
  /**
   * How long all of it may take, in milliseconds; TIMEOUT after that, unless it is being written.
   * @defaultValue no limit: only silence of the log ends it
   */
  readonly timeoutMs?: number;
  /** Ends it while nothing was changed yet. */
  readonly signal?: AbortSignal;
}

/** What became of a table whose changes may have gone uncaptured. */
export interface RecaptureResult extends RecaptureReport {
  /** The id of the replica. */
  readonly replica: string;
  /** Nothing was changed. */
  readonly dryRun: boolean;
  /**
   * `nothing`: nothing shows that changes of this table went uncaptured, and nothing was compared.
   */
  readonly outcome: 'nothing' | 'compared' | 'recaptured';
  /** Replication goes on. */
  readonly replicating: boolean;
  /** Kept rows that this replica has written again, of every table. */
  readonly writtenAgain: number;
  /** Kept rows that could not be written again, and why; recapture tries it again. */
  readonly notWritten?: { readonly rows: number; readonly reason: string };
}

const RECAPTURE_OPTIONS: OptionNames<RecaptureOptions> = {
  ...{ dryRun: true, deleteRows: true, timeoutMs: true, signal: true },
};
const NONE = { count: 0, keys: [] };
/** How long kept rows that cannot be written yet are tried again. */
const REJOIN_MS = 15_000;

/**
 * The way out of SCHEMA_DRIFT when a table was rebuilt or lost its triggers: compares it with what
 * replication knows of it, and seals the difference as a change of this replica, or sets it back
 * where other programs may not write (docs/decisions/0041).
 */
export class Recapturer {
  #busy = false;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
    private readonly writer: Writer<unknown>,
  ) {
    this.#lookAtKept();
    const { progress, recoverOwnUpTo, closing } = scope;
    const hasRecovered = (): boolean => progress.ownCounter >= recoverOwnUpTo;
    if (hasRecovered()) return;
    // What the log brings back may have been kept rows that were written just before this process
    // began.
    const options = {
      timeoutMs: Infinity,
      signal: closing,
      what: 'this replica has recovered its own transactions',
    };
    void progress.until(hasRecovered, options).then(
      () => this.#lookAtKept(),
      () => undefined,
    );
  }

  #lookAtKept(): void {
    const { store, logger } = this.scope;
    try {
      if (store.recapturing !== undefined) this.#alarmKept(store.recapturing);
    } catch (error) {
      // Another process repairs the database right now: it says so the next time.
      logger.debug({ err: error }, 'The kept rows were not counted.');
    }
  }

  /**
   * Throws UNKNOWN_TABLE, SCHEMA_DRIFT, DELETES_ROWS, CONSTRAINT, MESSAGE_TOO_LARGE, OVERLOADED,
   * STORE_BUSY, LOG_UNAVAILABLE, LOG_REPLACED, TIMEOUT, ABORTED, CLOSED.
   */
  async recapture(table: string, options: RecaptureOptions = {}): Promise<RecaptureResult> {
    if (typeof table !== 'string')
      throw new AntiphonError('BAD_OPTION', 'recapture() needs the name of a table.');
    checkOptions(options, RECAPTURE_OPTIONS, 'recapture()');
    const { store, health, id } = this.scope;
    const { recapturing } = store;
    if (recapturing === undefined) return this.#nothing(table, options.dryRun === true, []);
    if (health.ended)
      throw new AntiphonError('CLOSED', `Replica ${id} is ${health.state}. Open it again, then recapture.`);
    if (this.#busy) {
      throw new AntiphonError(
        'OVERLOADED',
        `Replica ${id} is already recapturing a table. Try again when that is done.`,
      );
    }
    this.#busy = true;
    try {
      const result = await this.#recapture(recapturing, table, options);
      return options.dryRun === true ? result : await this.#writeAgain(recapturing, result);
    } finally {
      this.#busy = false;
    }
  }

  async #recapture(
    recapturing: Recapturing,
    given: string,
    { dryRun = false, deleteRows = false, timeoutMs, signal }: RecaptureOptions,
  ): Promise<RecaptureResult> {
    const { id, document, health, clock, limits, closing, logger } = this.scope;
    const [table = given] = replicatedNames([given], document.schema.tables, `Replica ${id}`);
    // What happened a moment ago is noticed now, and stops everything that moves the database.
    await this.replica.ask('check');
    const affected = new Set(recapturing.uncaptured().map((gap) => gap.table));
    for (const stalled of health.stalled?.tables ?? []) affected.add(stalled);
    if (!affected.has(table)) {
      const { holding } = health;
      if (holding?.code === 'SCHEMA_DRIFT' && holding.table === table)
        throw anotherShape(this.scope, table, new AntiphonError('SCHEMA_DRIFT', holding.message));
      return this.#nothing(table, dryRun, [...affected]);
    }
    const whole =
      timeoutMs === undefined ? undefined : new Deadline(clock, timeoutMs, [], `table ${table} is compared`);
    const outers = [signal, whole?.signal, closing];
    const deadline = new Deadline(clock, limits.connectTimeoutMs, outers, 'the log can be read');
    try {
      const reference = await recapturing.open();
      const state = new KnownState(this.scope, reference, table, deadline);
      const { vector, lastCounter } = await state.restore();
      const report = await this.replica.ask(
        'recapture',
        { table, dryRun, deleteRows, vector, lastCounter },
        { timeoutMs: Infinity },
      );
      const outcome = dryRun ? 'compared' : 'recaptured';
      const { changed, onlyHere, missingHere, way } = report;
      logger.info(
        {
          table,
          dryRun,
          way,
          changed: changed.count,
          onlyHere: onlyHere.count,
          missingHere: missingHere.count,
        },
        `Table ${table} was ${outcome}.`,
      );
      const { replicating } = health;
      return { ...report, replica: id, dryRun, outcome, replicating, writtenAgain: 0 };
    } catch (thrown) {
      throw isAnotherShape(thrown) ? anotherShape(this.scope, table, thrown) : thrown;
    } finally {
      whole?.end();
      deadline.end();
      await recapturing.end();
    }
  }

  #nothing(table: string, dryRun: boolean, affected: readonly string[]): RecaptureResult {
    const { id, health } = this.scope;
    return {
      ...{ table, replica: id, dryRun, outcome: 'nothing', way: 'capture' },
      ...{ changed: NONE, onlyHere: NONE, missingHere: NONE, knownRows: 0 },
      remaining: affected,
      ...{ replicating: health.replicating, writtenAgain: 0 },
    };
  }

  /**
   * In a synchronous cluster that refuses the writes of other programs, only what goes through the
   * log may change a row: what was set back is written again as writes of this replica. Some of it
   * may be left from an earlier time.
   */
  async #writeAgain(recapturing: Recapturing, result: RecaptureResult): Promise<RecaptureResult> {
    const { health } = this.scope;
    const tables = this.#alarmKept(recapturing);
    if (tables.length === 0 || !health.replicating) return result;
    let writtenAgain = 0;
    const reasons: string[] = [];
    try {
      for await (const rows of this.#writeAll(recapturing)) writtenAgain += rows;
    } catch (thrown) {
      reasons.push(toAntiphonError(thrown).message);
    }
    const left = this.#alarmKept(recapturing);
    const doubt = doubtful(left);
    if (doubt !== undefined) reasons.push(doubt);
    if (left.length > 0 && reasons.length > 0)
      return { ...result, writtenAgain, notWritten: { rows: rowsOf(left), reason: reasons.join(' ') } };
    const { keptIn, ...written } = result;
    return keptIn === undefined ? { ...result, writtenAgain } : { ...written, writtenAgain };
  }

  /**
   * Rows of several tables may need each other, so they go together. What is too much for one write
   * may be refused for a row that comes later: then each table is tried alone, as long as that
   * brings any further.
   */
  async *#writeAll(recapturing: Recapturing): AsyncGenerator<number> {
    for (;;) {
      try {
        const rows = await this.#writeSome(recapturing);
        if (rows === 0) return;
        yield rows;
      } catch (refused) {
        if (!isRefusal(refused)) throw refused;
        const alone = await this.#writeEach(recapturing);
        if (alone === 0) throw refused;
        yield alone;
      }
    }
  }

  async #writeEach(recapturing: Recapturing): Promise<number> {
    let written = 0;
    for (const { table } of recapturing.kept()) {
      try {
        written += await this.#writeSome(recapturing, table);
      } catch (refused) {
        if (!isRefusal(refused)) throw refused;
      }
    }
    return written;
  }

  /** What was set back must not be forgotten, also by the next process. */
  #alarmKept(recapturing: Recapturing): readonly KeptTable[] {
    const { health } = this.scope;
    const tables = recapturing.kept();
    const waiting = tables.filter(({ rows, inDoubt }) => rows > inDoubt);
    const messages: string[] = [];
    if (waiting.length > 0)
      messages.push(
        `${numberOf(rowsOf(waiting) - inDoubtOf(waiting))} set back and must be written again, ` +
          `of ${namesOf(waiting)}. Run \`antiphon recapture ${shellWord(waiting[0]?.table ?? '')}\`.`,
      );
    const doubt = doubtful(tables);
    if (doubt !== undefined) messages.push(doubt);
    if (messages.length === 0) health.clearAlarm('kept');
    else health.alarm('kept', messages.join(' '));
    return tables;
  }

  /** They are forgotten in the transaction that brings them into this database. */
  #writeSome(recapturing: Recapturing, table?: string): Promise<number> {
    return this.#write(() => recapturing.writeKept(table));
  }

  /** A replica that stood still is not in sync at once. */
  async #write<T>(run: () => T): Promise<T> {
    const { clock, closing, limits } = this.scope;
    const untilMs = clock.monotonicMs() + REJOIN_MS + limits.inSyncLagMs;
    const again = (error: unknown): boolean =>
      error instanceof AntiphonError && (error.retriable || error.code === 'NOT_IN_SYNC');
    const write = async (): Promise<T> => (await this.writer.transaction(run)).value;
    return retryingUntilAborted(clock, closing, write, { again, untilMs });
  }
}

function rowsOf(tables: readonly KeptTable[]): number {
  return tables.reduce((sum, { rows }) => sum + rows, 0);
}

function inDoubtOf(tables: readonly KeptTable[]): number {
  return tables.reduce((sum, { inDoubt }) => sum + inDoubt, 0);
}

function numberOf(rows: number): string {
  return rows === 1 ? '1 row was' : `${rows} rows were`;
}

function namesOf(tables: readonly KeptTable[]): string {
  return tables.map(({ table, keptIn }) => `${table} (${keptIn})`).join(', ');
}

/**
 * Written twice, they would undo what others have acknowledged since; that is for somebody to
 * decide who can look.
 */
function doubtful(tables: readonly KeptTable[]): string | undefined {
  const some = tables.filter(({ inDoubt }) => inDoubt > 0);
  const [first] = some;
  if (first === undefined) return undefined;
  return (
    `${numberOf(inDoubtOf(some))} set back and may have been written again already, of ${namesOf(some)}. ` +
    'This database was restored from a copy that is older than what its replica had written. ' +
    `Compare them with the table, delete from ${first.keptIn} those that are not to be written, then run ` +
    `\`UPDATE ${first.keptIn} SET _antiphon_doubt = NULL\` and \`antiphon recapture ${shellWord(first.table)}\`.`
  );
}

/** Of these rows; others may still be written. */
function isRefusal(thrown: unknown): boolean {
  return thrown instanceof AntiphonError && ['CONSTRAINT', 'MESSAGE_TOO_LARGE'].includes(thrown.code);
}

function isAnotherShape(thrown: unknown): thrown is AntiphonError {
  return (
    thrown instanceof AntiphonError &&
    thrown.code === 'SCHEMA_DRIFT' &&
    thrown.context['uncaptured'] === undefined
  );
}

/** Rows can be compared; what becomes of a column that only one side has is nobody's to guess. */
function anotherShape({ id, cluster }: Scope, wanted: string, cause: AntiphonError): AntiphonError {
  // Nothing is recaptured while any table has another shape.
  const named = cause.context['table'];
  const table = typeof named === 'string' ? named : wanted;
  return new AntiphonError(
    'SCHEMA_DRIFT',
    `Table ${table} of ${id} has another shape than cluster ${cluster} agreed on, or is gone, so nothing can be recaptured. ${cause.message} ` +
      'Drop a new column, or rebuild the table as it was. Or create a new cluster from this file, under another name, with the schema as it is now.',
    { cause, context: { replica: id, table } },
  );
}

/** For remote callers. Throws BAD_OPTION. */
export function parseRecapture(input: Readonly<Record<string, unknown>>): {
  readonly table: string;
  readonly dryRun: boolean;
  readonly deleteRows: boolean;
  readonly timeoutMs?: number;
} {
  const { table, dryRun = false, deleteRows = false, timeoutMs } = input;
  const areFlags = typeof dryRun === 'boolean' && typeof deleteRows === 'boolean';
  if (typeof table !== 'string' || !areFlags || !isTimeout(timeoutMs)) {
    throw new AntiphonError(
      'BAD_OPTION',
      'The request is not valid. Give `table`, `dryRun` and `deleteRows` as true or false, and `timeoutMs` as a number above 0.',
    );
  }
  return { table, dryRun, deleteRows, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

function isTimeout(value: unknown): value is number | undefined {
  return value === undefined || (typeof value === 'number' && Number.isFinite(value) && value > 0);
}
