import type { ActorRef } from '@antiphon/actor';
import { AntiphonError, type RecaptureReport, type Recapturing } from '@antiphon/core';
import { Deadline } from './deadline.js';
import { KnownState } from './known-state.js';
import type { ReplicaProtocol } from './protocols.js';
import type { Scope } from './scope.js';

export interface RecaptureOptions {
  /** Says what differs and changes nothing. Defaults to false. */
  readonly dryRun?: boolean;
  /** For all of it, in milliseconds; TIMEOUT then, unless it is being written. Defaults to no limit: only silence of the log ends it. */
  readonly timeoutMs?: number;
  /** Ends it while nothing was changed yet. */
  readonly signal?: AbortSignal;
}

/** What became of a table whose changes may have gone uncaptured. */
export interface RecaptureResult extends RecaptureReport {
  readonly replica: string;
  readonly dryRun: boolean;
  /** `nothing`: nothing shows that changes of this table went uncaptured, and nothing was compared. */
  readonly outcome: 'nothing' | 'compared' | 'recaptured';
  /** Replication goes on. */
  readonly replicating: boolean;
}

const NONE = { count: 0, keys: [] };

/**
 * The way out of SCHEMA_DRIFT when a table was rebuilt or lost its triggers: compares it with what replication knows of it, and seals the
 * difference as a change of this replica, or sets it back where other programs may not write (docs/decisions/0041).
 */
export class Recapturer {
  #busy = false;

  constructor(
    private readonly scope: Scope,
    private readonly replica: ActorRef<ReplicaProtocol>,
  ) {}

  /** Throws UNKNOWN_TABLE, SCHEMA_DRIFT, CONSTRAINT, MESSAGE_TOO_LARGE, OVERLOADED, STORE_BUSY, LOG_UNAVAILABLE, LOG_REPLACED, TIMEOUT, ABORTED, CLOSED. */
  async recapture(table: string, options: RecaptureOptions = {}): Promise<RecaptureResult> {
    const { store, condition, id } = this.scope;
    const { recapturing } = store;
    if (recapturing === undefined) return { ...this.#nothing(table, []), replica: id };
    if (condition.ended)
      throw new AntiphonError(
        'CLOSED',
        `Replica ${id} is ${condition.state}. Open it again, then recapture.`,
      );
    if (this.#busy) {
      throw new AntiphonError(
        'OVERLOADED',
        `Replica ${id} is recapturing a table already. Try again when that is done.`,
      );
    }
    this.#busy = true;
    try {
      return await this.#recapture(recapturing, table, options);
    } finally {
      this.#busy = false;
    }
  }

  async #recapture(
    recapturing: Recapturing,
    table: string,
    { dryRun = false, timeoutMs, signal }: RecaptureOptions,
  ): Promise<RecaptureResult> {
    const { id, document, condition, clock, limits, closing, logger } = this.scope;
    if (!document.schema.tables.some(({ name }) => name === table)) throw unknownTable(this.scope, table);
    // What happened a moment ago is noticed now, and stops everything that moves the database.
    await this.replica.ask('check');
    const affected = new Set(recapturing.gaps().map((gap) => gap.table));
    for (const stalled of condition.stalled?.tables ?? []) affected.add(stalled);
    if (!affected.has(table)) {
      const { holding } = condition;
      if (holding?.code === 'SCHEMA_DRIFT' && holding.table === table)
        throw anotherShape(this.scope, table, new AntiphonError('SCHEMA_DRIFT', holding.message));
      return this.#nothing(table, [...affected]);
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
        { table, dryRun, vector, lastCounter },
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
        `table ${table} was ${outcome}`,
      );
      return { ...report, replica: id, dryRun, outcome, replicating: condition.replicating };
    } catch (thrown) {
      throw isAnotherShape(thrown) ? anotherShape(this.scope, table, thrown) : thrown;
    } finally {
      whole?.end();
      deadline.end();
      await recapturing.end();
    }
  }

  #nothing(table: string, affected: readonly string[]): RecaptureResult {
    const { id, condition } = this.scope;
    return {
      ...{ table, replica: id, dryRun: true, outcome: 'nothing', way: 'capture' },
      ...{ changed: NONE, onlyHere: NONE, missingHere: NONE },
      remaining: affected,
      replicating: condition.replicating,
    };
  }
}

function unknownTable({ document, id }: Scope, table: string): AntiphonError {
  const names = document.schema.tables.map(({ name }) => name).join(', ');
  return new AntiphonError(
    'UNKNOWN_TABLE',
    `Replica ${id} does not replicate a table ${table.slice(0, 80)}. It replicates ${names}.`,
    { context: { replica: id, table } },
  );
}

function isAnotherShape(thrown: unknown): thrown is AntiphonError {
  return (
    thrown instanceof AntiphonError && thrown.code === 'SCHEMA_DRIFT' && thrown.context['gaps'] === undefined
  );
}

/** Rows can be compared; what becomes of a column that only one side has is nobody's to guess. */
function anotherShape({ id, cluster }: Scope, table: string, cause: AntiphonError): AntiphonError {
  return new AntiphonError(
    'SCHEMA_DRIFT',
    `Table ${table} of ${id} has another shape than cluster ${cluster} agreed on, so it cannot be recaptured. ${cause.message} Either change it ` +
      'back (drop the new column, or rebuild the table as it was) and recapture it then, or found a new cluster from this file, under another name, with the new shape.',
    { cause, context: { replica: id, table } },
  );
}

/** For remote callers. Throws BAD_OPTION. */
export function parseRecapture(input: Readonly<Record<string, unknown>>): {
  readonly table: string;
  readonly dryRun: boolean;
  readonly timeoutMs?: number;
} {
  const { table, dryRun = false, timeoutMs } = input;
  if (typeof table !== 'string' || typeof dryRun !== 'boolean' || !isTimeout(timeoutMs)) {
    throw new AntiphonError(
      'BAD_OPTION',
      'The request is not valid; give `table`, `dryRun` as true or false, and `timeoutMs` as a number above 0.',
    );
  }
  return { table, dryRun, ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

function isTimeout(value: unknown): value is number | undefined {
  return value === undefined || (typeof value === 'number' && Number.isFinite(value) && value > 0);
}
