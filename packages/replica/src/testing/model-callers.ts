import { AntiphonError, type Clock, UnknownOutcomeError } from '@antiphon/core';
import type { SyncWrite } from '../state/sync-write.js';
import type { Flying } from '../sync/flight.js';
import type { ModelLog } from './model-log.js';
import type { Tape } from './tape.js';

/** A write, and what its caller was told. */
export interface Told {
  readonly write: SyncWrite;
  readonly name: string;
  /** Its caller gives up. */
  readonly giveUp: AbortController;
  /** It writes only to tables that are not replicated. */
  readonly isLocal: boolean;
  /** In this database only, for good. */
  committedLocally: boolean;
  /** It was settled when a message with it was sent. */
  sentSettled: boolean;
  /** Where it stands, as far as this world was told. */
  place: 'queue' | 'machine' | 'acknowledged' | 'told';
  ended: { readonly error: unknown } | { readonly committed: true } | undefined;
}

export const RESULT = {
  outcome: 'committed' as const,
  position: { generation: 'g', seq: 1 },
  value: undefined,
};

/** Those who write, and may lose patience at any time. What they are told must be true. */
export class ModelCallers {
  readonly #told = new Map<SyncWrite, Told>();

  constructor(
    private readonly tape: Tape,
    private readonly clock: Clock,
    private readonly kindOfWrite: typeof SyncWrite,
    private readonly violated: (what: string) => void,
  ) {}

  submit(name: string, isLocal: boolean): SyncWrite {
    const timeoutMs = this.tape.pick(2) === 1 ? 50 : 1e9;
    const giveUp = new AbortController();
    const { signal } = giveUp;
    const write = new this.kindOfWrite(() => undefined, { acks: 'logged', timeoutMs, signal }, this.clock);
    const told: Told = {
      ...{ write, name, giveUp, isLocal, place: 'queue', ended: undefined },
      ...{ committedLocally: false, sentSettled: false },
    };
    this.#told.set(write, told);
    write.promise.then(
      () => void (told.ended = { committed: true }),
      (error: unknown) => void (told.ended = { error }),
    );
    return write;
  }

  of(write: SyncWrite): Told {
    const told = this.#told.get(write);
    if (told === undefined) throw new Error('nobody submitted this');
    return told;
  }

  /** One of them gives up, by itself or because the replica is told to close. */
  giveUpOne(how: 'signal' | 'close'): void {
    const open = [...this.#told.values()].filter(({ write }) => !write.settled);
    const one = open[this.tape.pick(Math.max(1, open.length))];
    if (how === 'signal') one?.giveUp.abort();
    else one?.write.giveUp(new AntiphonError('CLOSED', 'closing'));
  }

  /** Those that do not run, and why not. */
  runAll(writes: readonly Told[]): Map<Told, unknown> {
    const refusals = new Map<Told, unknown>();
    for (const one of writes) {
      try {
        one.write.run(undefined);
      } catch (thrown) {
        if (!one.write.settled) this.violated(`I8: ${one.name} does not run, and nobody was told`);
        refusals.set(one, thrown);
      }
    }
    return refusals;
  }

  /** The time of one may have been up before: then nobody may have said that nothing was kept. */
  sent(flying: readonly Flying[]): void {
    for (const { write } of flying) if (write.settled) this.of(write).sentSettled = true;
  }

  place(write: SyncWrite, place: Told['place']): void {
    const told = this.of(write);
    if (told.place === 'acknowledged' || (told.place === 'told' && place !== 'machine'))
      this.violated(`I8: ${told.name} is settled twice`);
    told.place = place;
  }

  putBack(writes: readonly SyncWrite[]): void {
    for (const write of writes) {
      const told = this.of(write);
      if (told.place !== 'machine') this.violated(`I8: ${told.name} is put back twice`);
      told.place = 'queue';
    }
  }

  complete(write: SyncWrite): void {
    this.place(write, 'acknowledged');
    write.complete(RESULT);
  }

  committedLocally(write: SyncWrite): void {
    this.of(write).committedLocally = true;
    write.committed(() => RESULT);
  }

  /** Those that the queue has forgotten, as it may. */
  leaveQueue(): void {
    for (const told of this.#told.values())
      if (told.write.settled && told.place === 'queue') told.place = 'told';
  }

  /** Another process serves the database; nobody here is told anything any more. */
  restarted(): void {
    for (const told of this.#told.values()) if (told.place !== 'acknowledged') told.place = 'told';
  }

  /** What is not told is either in the queue or in the machine. */
  checkPlaces(flying: readonly Flying[]): void {
    const here = new Set(flying.map(({ write }) => write));
    for (const { write, name, place } of this.#told.values()) {
      if (place === 'machine' && !here.has(write) && !write.settled)
        this.violated(`I8: ${name} is forgotten`);
      if (place !== 'machine' && here.has(write)) this.violated(`I8: ${name} is in two places`);
    }
  }

  judge(log: ModelLog): void {
    const times = new Map<string, number>();
    for (const name of log.truth().values()) times.set(name, (times.get(name) ?? 0) + 1);
    for (const told of this.#told.values()) this.#judgeOne(told, times.get(told.name) ?? 0, log.isCut);
  }

  #judgeOne({ name, isLocal, ended, place, ...told }: Told, times: number, isCut: boolean): void {
    if (ended === undefined) return this.violated(`I8: ${name} was not told (${place})`);
    const isCommitted = 'committed' in ended;
    const isUnknown = !isCommitted && ended.error instanceof UnknownOutcomeError;
    if (isLocal && isCommitted !== told.committedLocally)
      this.violated(`I8: ${name} is told wrongly what became of it in this database`);
    if (told.sentSettled && !isUnknown) this.violated(`I8: ${name} is sent after its end`);
    if (isLocal || isCut) return;
    if (times > 1) this.violated(`I2: ${name} happened ${times} times`);
    if (isCommitted && times === 0) this.violated(`I8: ${name} is committed, and not in the log`);
    if (isCommitted || isUnknown) return;
    if (times > 0) this.violated(`I8: nothing of ${name} was written, and the log has it`);
  }
}
