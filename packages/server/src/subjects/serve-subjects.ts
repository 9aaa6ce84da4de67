import { AntiphonError, type BusSubscription, readSubject, serviceName, writeSubject } from '@antiphon/core';
import type { Replica } from '@antiphon/replica';
import { servedBus, type ServedBus } from '@antiphon/replica/internal';
import type { z } from 'zod';
import { parseInput } from '../http/parse-input.js';
import { executeBody, queryBody } from '../http/schemas.js';
import { executeOf } from '../operations/execute.js';
import type { Answered, Operation } from '../operations/operation.js';
import { queryOf } from '../operations/query.js';
import { Slots } from '../service/slots.js';
import { answerDiscovery, type Described } from './discovery.js';
import { Endpoint } from './endpoint.js';
import type { MessageFormat } from './message-format.js';
import { subjectWatchOf } from './subject-watch.js';
import { resolveSubjectsOptions, type SubjectsOptions, type SubjectsSettings } from './options.js';

/** One replica that answers on the subjects of its cluster. */
export interface ServedSubjects extends AsyncDisposable {
  /** Where one of the replicas that serve reads answers: `antiphon.shop.read`. */
  readonly read: string;
  /** Where one of those that can have it written answers: `antiphon.shop.write`. */
  readonly write: string;
  /** What NATS's service discovery calls all of them: `antiphon-shop`. */
  readonly name: string;
  /**
   * Ends in good order: new requests go to other replicas, and those under way have
   * `limits.graceMs` to end. Idempotent. The replica goes on: close it afterwards.
   */
  close(): Promise<void>;
}

/** For requests that were ended to be answered. */
const LAST_ANSWERS_MS = 1000;

/**
 * Lets a replica answer reads and writes on the subjects of its cluster, as docs/subjects.md
 * describes them, over the connection to NATS that it has. While it is drained or behind, reads go
 * to others; while it closes, everything does.
 *
 * @throws AntiphonError BAD_OPTION
 *
 * @example
 * await using subjects = serveSubjects(replica);
 * console.log(subjects.read, subjects.write);
 */
export function serveSubjects(replica: Replica<unknown>, options: SubjectsOptions = {}): ServedSubjects {
  const settings = resolveSubjectsOptions(options);
  return new SubjectService(replica, servedBus(replica), settings);
}

class SubjectService implements ServedSubjects {
  readonly read: string;
  readonly write: string;
  readonly name: string;
  readonly #slots: Slots;
  readonly #reading: Endpoint;
  readonly #writing: Endpoint;
  readonly #started = new Date();
  readonly #ending = new AbortController();
  readonly #discovery: readonly BusSubscription[];
  readonly #stopListening: () => void;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly replica: Replica<unknown>,
    private readonly served: ServedBus,
    private readonly settings: SubjectsSettings,
  ) {
    const { cluster } = replica;
    const { limits, logger } = settings;
    this.read = readSubject(cluster);
    this.write = writeSubject(cluster);
    this.name = serviceName(cluster);
    this.#slots = new Slots(limits.requests, 'requests');
    const { resultBytes, timeoutMs } = limits;
    const reads = this.#runner(queryBody, (body, { valueOf }) =>
      queryOf({ timeoutMs, ...body }, valueOf, resultBytes),
    );
    const writes = this.#runner(executeBody, (body, { valueOf }) =>
      executeOf({ timeoutMs, ...body }, valueOf),
    );
    const { bus, traced } = served;
    const reading = { name: 'read', subject: this.read, cluster: traced, run: reads } as const;
    const writing = { name: 'write', subject: this.write, cluster: traced, run: writes } as const;
    const watch = subjectWatchOf(replica);
    this.#reading = new Endpoint(bus, reading, logger, watch);
    this.#writing = new Endpoint(bus, writing, logger, watch);
    this.#discovery = answerDiscovery(bus, () => this.#describe());
    this.#stopListening = served.onChange(() => this.#follow());
    this.#follow();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { graceMs } = this.settings.limits;
    this.#stopListening();
    for (const subscription of this.#discovery) subscription.unsubscribe();
    await Promise.all([this.#reading.leave(), this.#writing.leave()]);
    if (await this.#idleWithin(graceMs)) return;
    const message = `Replica ${this.replica.id} is closing. Ask again: another one answers.`;
    this.#ending.abort(new AntiphonError('ABORTED', message));
    await this.#idleWithin(LAST_ANSWERS_MS);
  }

  async #idleWithin(timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<false>((resolve) => (timer = setTimeout(resolve, timeoutMs, false)));
    const idle = Promise.all([this.#reading.idle(), this.#writing.idle()]).then(() => true);
    try {
      return await Promise.race([idle, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** An endpoint that listens leaves, or the other way round, where that has changed. */
  #follow(): void {
    const { reads, writes } = this.served.takes;
    try {
      for (const [endpoint, isWanted] of [
        [this.#reading, reads] as const,
        [this.#writing, writes] as const,
      ]) {
        if (isWanted) endpoint.listen();
        else void endpoint.leave();
      }
    } catch (error) {
      // Its connection was closed under it: it is about to say so itself.
      this.settings.logger.warn({ err: error }, 'Requests on subjects cannot be answered here.');
    }
  }

  /** What an endpoint does with a request: nobody waits in a queue here. */
  #runner<S extends z.ZodType>(
    schema: S,
    operationOf: (body: z.output<S>, format: MessageFormat) => Operation,
  ): (data: Uint8Array, format: MessageFormat) => Promise<Answered> {
    return async (data, format) => {
      const release = this.#slots.take();
      try {
        this.#assertSize(data.length);
        const body = parseInput(schema, format.decode(data), 'The request');
        return await operationOf(body, format)(this.replica, this.#ending.signal);
      } finally {
        release();
      }
    };
  }

  #assertSize(bytes: number): void {
    const { bodyBytes } = this.settings.limits;
    if (bytes <= bodyBytes) return;
    const message =
      `The request has ${bytes} bytes, over the limit of ${bodyBytes}. ` +
      'Send less at once, or raise `subjects.limits.bodyBytes`.';
    throw new AntiphonError('MESSAGE_TOO_LARGE', message, { context: { bytes, limit: bodyBytes } });
  }

  #describe(): Described {
    const { version, role, id, cluster } = this.replica.status();
    return {
      ...{ name: this.name, id, version, started: this.#started },
      description: `Reads and writes of the Antiphon cluster ${cluster}`,
      metadata: { cluster, replica: id, role },
      endpoints: [this.#reading, this.#writing],
    };
  }
}
