import {
  decodeLeaseRecord,
  encodeLeaseRecord,
  type AntiphonError,
  type Lease,
  type LeaseEntry,
  type LeaseRecord,
  type LeaseTake,
} from '@antiphon/core';
import { closed, unavailable, type Link } from '../link.js';
import { assertLease, type MemoryLease } from './memory-lease.js';

/** How much later than its time limit a late publish arrives, at most. */
const LATEST_ARRIVAL_MS = 3000;

/** One process's view of a `MemoryLease`. */
export class MemoryLeaseConnection implements Lease {
  readonly #stops = new Set<() => void>();
  #closed = false;

  constructor(
    private readonly lease: MemoryLease,
    readonly link: Link,
  ) {}

  async open(signal?: AbortSignal): Promise<void> {
    await this.#read('open the lease', signal);
  }

  read(signal?: AbortSignal): Promise<LeaseEntry> {
    return this.#read('read the lease', signal);
  }

  async take(record: LeaseRecord, expectedSeq: number): Promise<LeaseTake> {
    const data = encodeLeaseRecord(record);
    assertLease(data, expectedSeq);
    const what = `take the lease as ${record.holder}`;
    if (this.#closed || this.link.state === 'closed') return unknown(closed(what));
    if (this.link.state === 'disconnected') return unknown(unavailable(what));
    const { link } = this;
    const timeoutMs = Math.min(record.leaseMs / 4, link.timeoutMs);
    return new Promise((resolve) => {
      const settle = (outcome: LeaseTake): void => {
        timer.cancel();
        stopListening();
        if (!link.killed) resolve(outcome);
      };
      const lost = (): void => settle(unknown(unavailable(what)));
      const timer = link.clock.setTimer(timeoutMs, () => link.inProcess(lost));
      const stopListening = link.onState((state) => (state === 'connected' ? undefined : lost()));
      this.#send(data, expectedSeq, timeoutMs, settle);
    });
  }

  onRenewal(listener: (record: LeaseRecord) => void): () => void {
    if (this.#closed) return () => undefined;
    let listening = true;
    const hear = (data: Uint8Array): void => {
      const record = decodeLeaseRecord(data);
      if (listening && record !== undefined) listener(record);
    };
    const forget = this.lease.listen({ link: this.link, hear });
    const stop = (): void => {
      listening = false;
      this.#stops.delete(stop);
      forget();
    };
    this.#stops.add(stop);
    return stop;
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const stop of [...this.#stops]) stop();
    return Promise.resolve();
  }

  #send(
    data: Uint8Array,
    expectedSeq: number,
    timeoutMs: number,
    settle: (outcome: LeaseTake) => void,
  ): void {
    const { link, lease } = this;
    if (link.faults.strikes('lostAppend')) return;
    if (link.faults.strikes('lateAppend')) {
      // Not the process's doing any more: it arrives even when the process has ended.
      lease.clock.setTimer(timeoutMs + link.faults.delayMs(LATEST_ARRIVAL_MS), () => {
        if (!link.dropped) lease.publish(data, expectedSeq);
      });
      return;
    }
    link.send(() => {
      const seq = lease.publish(data, expectedSeq);
      if (link.faults.strikes('lostAppendReply')) return;
      link.receive(() => settle(seq === undefined ? { type: 'lost' } : { type: 'taken', seq }));
    });
  }

  async #read(what: string, signal: AbortSignal | undefined): Promise<LeaseEntry> {
    if (this.#closed) throw closed(what);
    return this.link.call(what, () => this.lease.entry, signal);
  }
}

function unknown(error: AntiphonError): LeaseTake {
  return { type: 'unknown', error };
}
