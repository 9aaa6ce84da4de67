import { msgpackCodec } from '@antiphon/actor';
import { AntiphonError, type Bus, type ErrorCode, systemClock } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { notWritable } from '../config/not-writable.js';
import type { Mandate } from '../state/authority.js';
import type { ReplicaScope } from '../sync/replica-scope.js';
import { Forwarding } from './forward.js';
import type { Executed } from './requests.js';
import type { AskedRequest } from './write-options.js';

interface Asked {
  readonly primary: string;
  readonly requestId: string;
  readonly epoch: number;
  readonly timeoutMs: number;
  readonly forwarded: boolean;
  readonly call: string;
  readonly again: boolean;
}
type Answer = Executed | AntiphonError | Promise<Executed | AntiphonError>;

const WRITTEN: Executed = { outcome: 'committed', position: { generation: 'g', seq: 1 }, value: [1] };
const NEVER = new Promise<Executed>(() => undefined);

/** Replica `z`, and primaries that answer what the test says. */
class Bench {
  readonly asked: Asked[] = [];
  readonly withdrawn: Pick<Asked, 'requestId' | 'call'>[] = [];
  readonly closing = new AbortController();
  mandate: Mandate = { epoch: 1, role: 'replica', primary: 'a', mayWrite: false };
  /** Of the primary. */
  writingMs: number | undefined;
  #listener: (mandate: Mandate) => void = () => undefined;

  constructor(
    private readonly answer: (asked: Asked, nth: number) => Answer,
    private readonly blockedMs = 60_000,
  ) {}

  forwarding(timeoutMs = 1000, signal?: AbortSignal, by?: AskedRequest): Forwarding {
    const bus: Partial<Bus> = { request: (subject, data, limit) => this.#request(subject, data, limit) };
    const scope = {
      ...{ bus, cluster: 'shop', id: 'z', clock: systemClock(), closing: this.closing.signal },
      authority: {
        current: () => this.mandate,
        onChange: (listener: (mandate: Mandate) => void) => {
          this.#listener = listener;
          return () => undefined;
        },
      },
      ...{ log: { connection: 'connected' }, health: { state: 'closing' }, document: {} },
      limits: { blockedMs: this.blockedMs },
      members: { writingMs: (id: string) => (id === this.mandate.primary ? this.writingMs : undefined) },
    } as unknown as ReplicaScope;
    const untilMs = performance.now() + timeoutMs;
    const deps = { here: () => Promise.resolve(WRITTEN), untilMs, ...(by && { asked: by }) };
    return new Forwarding(scope, { id: 'r', statements: [] }, { ...(signal && { signal }) }, deps);
  }

  become(mandate: Partial<Mandate>): void {
    this.mandate = { ...this.mandate, ...mandate };
    this.#listener(this.mandate);
  }

  async #request(
    subject: string,
    data: Uint8Array,
    limit: Parameters<Bus['request']>[2],
  ): Promise<Uint8Array> {
    const primary = subject.split('.').at(-2) ?? '';
    const asked = { ...(msgpackCodec.decode(data) as Asked), primary };
    if (subject.endsWith('.withdraw')) {
      this.withdrawn.push(asked);
      return msgpackCodec.encode({ ok: undefined });
    }
    this.asked.push(asked);
    const interrupted = new Promise<AntiphonError>((resolve) => {
      limit.signal?.addEventListener('abort', () => resolve(new AntiphonError('ABORTED', 'Given up.')));
      setTimeout(() => resolve(new AntiphonError('TIMEOUT', 'No answer.')), limit.timeoutMs).unref();
    });
    const answer = await Promise.race([interrupted, this.answer(asked, this.asked.length)]);
    if (!(answer instanceof AntiphonError)) return msgpackCodec.encode({ ok: answer });
    const { code, message, retriable, context } = answer;
    // What the bus says, and not the primary.
    if (
      code === 'NO_ACTOR' ||
      (code === 'ABORTED' && context['by'] === undefined) ||
      (code === 'TIMEOUT' && message === 'No answer.')
    )
      throw answer;
    return msgpackCodec.encode({ error: { code, message, retriable, context } });
  }
}

const error = (code: ErrorCode, context = {}): AntiphonError =>
  new AntiphonError(code, 'It is so.', { context });

describe('a forwarded request', () => {
  it('is marked as such, with its epoch, and in time for the answer to come back', async () => {
    const bench = new Bench(() => WRITTEN);
    expect(await bench.forwarding(1000).run()).toEqual(WRITTEN);
    expect(bench.asked).toMatchObject([{ primary: 'a', requestId: 'r', epoch: 1, forwarded: true }]);
    expect(bench.asked[0]?.timeoutMs).toBeGreaterThan(500);
    expect(bench.asked[0]?.timeoutMs).toBeLessThanOrEqual(900);
  });

  it.each(['NOT_WRITABLE', 'CLOSED', 'ACTOR_STOPPED', 'NO_ACTOR', 'OUTCOME_UNKNOWN'] as const)(
    'is sent again under its id after %s',
    async (code) => {
      const bench = new Bench((_, nth) => (nth < 3 ? error(code) : WRITTEN));
      expect(await bench.forwarding().run()).toEqual(WRITTEN);
      expect(bench.asked.map(({ requestId }) => requestId)).toEqual(['r', 'r', 'r']);
    },
  );

  it('is sent to the next primary again at once, however long there was none', async () => {
    let isRead = false;
    const bench = new Bench(({ primary }) => {
      if (primary === 'a') return error('NO_ACTOR');
      if (isRead) return WRITTEN;
      // It has not read yet what this replica has.
      setTimeout(() => (isRead = true), 20);
      return error('NOT_WRITABLE', { primary: 'a', epoch: 1 });
    });
    const written = bench.forwarding(5000).run();
    await new Promise((resolve) => setTimeout(resolve, 1200));
    bench.become({ epoch: 2, primary: 'b' });
    const startedMs = performance.now();
    expect(await written).toEqual(WRITTEN);
    expect(performance.now() - startedMs).toBeLessThan(300);
  });

  it.each(['CONSTRAINT', 'BAD_SQL', 'OVERLOADED', 'TIMEOUT', 'LOG_UNAVAILABLE', 'NOT_IN_SYNC'] as const)(
    'ends with %s when that is what the primary says',
    async (code) => {
      const bench = new Bench(() => error(code));
      await expect(bench.forwarding().run()).rejects.toMatchObject({ code });
      expect(bench.asked).toHaveLength(1);
    },
  );

  it.each([
    'NOT_IN_SYNC',
    'OVERLOADED',
    'CLOCK_SKEW',
    'STORE_FULL',
    'LOG_UNAVAILABLE',
    'BAD_OPTION',
  ] as const)(
    'I8: is not rejected by %s, which does not look for it, after an attempt without an answer',
    async (code) => {
      const bench = new Bench((_, nth) => (nth === 1 ? error('OUTCOME_UNKNOWN') : error(code)));
      await expect(bench.forwarding(300).run()).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', id: 'r' });
      expect(bench.asked.length).toBeGreaterThan(1);
    },
  );

  it('I8: is rejected by what says that it ran, also after an attempt without an answer', async () => {
    const bench = new Bench((_, nth) => (nth === 1 ? error('OUTCOME_UNKNOWN') : error('CONSTRAINT')));
    await expect(bench.forwarding(300).run()).rejects.toMatchObject({ code: 'CONSTRAINT' });
  });

  it('is unknown at its deadline when an attempt had no answer, also where a later one says TIMEOUT', async () => {
    const [unclear, clear] = [error('CLOSED', { started: true }), error('CLOSED')];
    const unknown = { code: 'OUTCOME_UNKNOWN', id: 'r', outcome: 'unknown' };
    await expect(new Bench(() => NEVER).forwarding(100).run()).rejects.toMatchObject(unknown);
    await expect(new Bench(() => unclear).forwarding(100).run()).rejects.toMatchObject(unknown);
    await expect(new Bench(() => clear).forwarding(100).run()).rejects.toMatchObject({
      code: 'CLOSED',
      message: expect.stringMatching(/^It is so\. Nothing was written within \d+ ms\.$/) as string,
    });
    const both = new Bench((_, nth) => (nth === 1 ? unclear : error('TIMEOUT')));
    await expect(both.forwarding(100).run()).rejects.toMatchObject(unknown);
  });

  it('says when it had no answer since the primary is inside of a long write', async () => {
    const bench = new Bench(() => NEVER);
    bench.writingMs = 23_000;
    await expect(bench.forwarding(100).run()).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: expect.stringContaining('The primary a has been inside of one write for 23 s.') as string,
    });
  });

  it('goes to the next primary as soon as there is one, whatever the last one does', async () => {
    const bench = new Bench(({ primary }) => (primary === 'b' ? WRITTEN : NEVER));
    const startedMs = performance.now();
    const result = bench.forwarding(10_000).run();
    setTimeout(() => bench.become({ epoch: 2, primary: 'b' }), 20);
    expect(await result).toEqual(WRITTEN);
    expect(performance.now() - startedMs).toBeLessThan(3000);
    expect(bench.asked.map(({ primary, epoch }) => [primary, epoch])).toEqual([
      ['a', 1],
      ['b', 2],
    ]);
  });

  it('is asked of no third primary when two lost their role while they had it', async () => {
    const bench = new Bench(() => NEVER);
    setTimeout(() => bench.become({ epoch: 2, primary: 'b' }), 20);
    setTimeout(() => bench.become({ epoch: 3, primary: 'c' }), 40);
    await expect(bench.forwarding(10_000).run()).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      id: 'r',
      message: expect.stringMatching(/2 primaries lost .*`limits\.blockedMs` \(/) as string,
    });
    expect(bench.asked.map(({ primary }) => primary)).toEqual(['a', 'b']);
  });

  it('I10: goes on where a client asked another replica before: the same call, with what that cost', async () => {
    const call = '01a22aa4-3672-7026-b8db-92a447dd4a69';
    const bench = new Bench(() => NEVER);
    setTimeout(() => bench.become({ epoch: 2, primary: 'b' }), 20);
    const forwarding = bench.forwarding(10_000, undefined, { call, again: true, lostPrimaries: 1 });
    await expect(forwarding.run()).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: expect.stringMatching(/^2 primaries lost /) as string,
    });
    expect(bench.asked).toMatchObject([{ primary: 'a', call, again: true }]);
  });

  it('I10: does not count again the one that the client has counted', async () => {
    const bench = new Bench(({ primary }) => (primary === 'a' ? NEVER : WRITTEN));
    setTimeout(() => bench.become({ epoch: 2, primary: 'b' }), 20);
    const asked = { call: 'c', again: true, lostPrimaries: 1, lostEpoch: 1 };
    expect(await bench.forwarding(10_000, undefined, asked).run()).toEqual(WRITTEN);
    expect(bench.asked.map(({ primary }) => primary)).toEqual(['a', 'b']);
  });

  it('is asked of no second one when the first had it for as long as no write may take', async () => {
    const bench = new Bench(() => NEVER, 30);
    setTimeout(() => bench.become({ epoch: 2, primary: 'z', mayWrite: true }), 60);
    await expect(bench.forwarding(10_000).run()).rejects.toMatchObject({
      code: 'OUTCOME_UNKNOWN',
      message: expect.stringContaining('The primary a lost its role') as string,
    });
    expect(bench.asked).toHaveLength(1);
  });

  it('is unknown where it took too long, after an attempt without an answer', async () => {
    const context = { outlasted: true, replica: 'b' };
    for (const [retriable, wayOut] of [
      [true, 'Call execute again'],
      [false, 'Write it in pieces, or raise the limit'],
    ] as const) {
      const tooLong = new AntiphonError('TIMEOUT', 'Too long. Do this.', { context, retriable });
      const bench = new Bench(({ primary }) => (primary === 'a' ? NEVER : tooLong));
      setTimeout(() => bench.become({ epoch: 2, primary: 'b' }), 20);
      const ended = (await bench
        .forwarding(10_000)
        .run()
        .catch((thrown: unknown) => thrown)) as AntiphonError;
      expect(ended).toMatchObject({ code: 'OUTCOME_UNKNOWN' });
      expect(ended.message).toMatch(/^The primary b lost its lease while it had the write\./);
      expect(ended.message).toContain(wayOut);
      expect(ended.message).not.toContain('Do this');
      expect(bench.asked.map(({ primary }) => primary)).toEqual(['a', 'b']);
    }
  });

  it('is written here when this replica is the next one', async () => {
    const bench = new Bench(() => NEVER);
    const result = bench.forwarding(10_000).run();
    setTimeout(() => bench.become({ epoch: 2, primary: 'z', mayWrite: true }), 20);
    expect(await result).toBe(WRITTEN);
  });

  it('goes to a newer primary than this replica knows when it is told, and stays there', async () => {
    const bench = new Bench(({ primary, epoch }) =>
      primary === 'b' && epoch === 9
        ? new Promise((resolve) => setTimeout(() => resolve(WRITTEN), 100))
        : notWritable({ cluster: 'shop', id: primary, primary: 'b', epoch: 9 }),
    );
    const result = bench.forwarding(10_000).run();
    // It reads of the epochs in between, and none of them is newer than what it was told.
    setTimeout(() => bench.become({ epoch: 5, primary: 'c' }), 40);
    expect(await result).toEqual(WRITTEN);
    expect(bench.asked.map(({ primary }) => primary)).toEqual(['a', 'b']);
  });

  it('can be given up while nobody has it, and not while somebody may', async () => {
    const early = new AbortController();
    const nobody = new Bench(() => error('NO_ACTOR'));
    setTimeout(() => early.abort(), 30);
    await expect(nobody.forwarding(5000, early.signal).run()).rejects.toMatchObject({ code: 'ABORTED' });
    const late = new AbortController();
    const slow = new Bench(() => new Promise((resolve) => setTimeout(() => resolve(WRITTEN), 100)));
    setTimeout(() => late.abort(), 30);
    expect(await slow.forwarding(5000, late.signal).run()).toEqual(WRITTEN);
    expect(slow.asked).toHaveLength(1);
    expect(slow.withdrawn).toMatchObject([{ requestId: 'r', call: slow.asked[0]?.call }]);
    const waits = new AbortController();
    const queue = new Bench(
      () => new Promise((resolve) => setTimeout(() => resolve(error('ABORTED', { by: 'a' })), 100)),
    );
    setTimeout(() => waits.abort(), 30);
    await expect(queue.forwarding(5000, waits.signal).run()).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it(
    'I8: takes a late answer to the first question, unless a later one may have written',
    { timeout: 20_000 },
    async () => {
      const soon = (answer: Executed | AntiphonError, ms: number): Promise<Executed | AntiphonError> =>
        new Promise((resolve) => setTimeout(() => resolve(answer), ms));
      const certain = new Bench((_, nth) => soon(error('NOT_IN_SYNC'), nth === 1 ? 5500 : 700));
      const lost = new Bench((_, nth) => (nth === 1 ? NEVER : soon(error('NOT_IN_SYNC'), 100)));
      const written = new Bench((_, nth) =>
        soon(nth === 1 ? error('TIMEOUT') : WRITTEN, nth === 1 ? 5100 : 300),
      );
      const [first, second, third] = [certain, lost, written].map((bench) => bench.forwarding(7000).run());
      await expect(first).rejects.toMatchObject({ code: 'NOT_IN_SYNC' });
      expect(await third).toEqual(WRITTEN);
      await expect(second).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN', id: 'r' });
      expect(certain.asked).toHaveLength(2);
    },
  );

  it(
    'I8: takes a refusal for all of its questions from one that says that it is not the first',
    { timeout: 20_000 },
    async () => {
      const soon = (answer: Executed | AntiphonError, ms: number): Promise<Executed | AntiphonError> =>
        new Promise((resolve) => setTimeout(() => resolve(answer), ms));
      // The primary remembers nothing of what is asked once: the second question may be written.
      const written = new Bench((_, nth) =>
        nth === 1 ? soon(error('CONSTRAINT'), 5100) : soon(WRITTEN, 300),
      );
      const refused = new Bench((_, nth) => (nth === 1 ? NEVER : error('CONSTRAINT')));
      const [first, second] = [written, refused].map((bench) => bench.forwarding(7000).run());
      second?.catch(() => undefined);
      expect(await first).toEqual(WRITTEN);
      await expect(second).rejects.toMatchObject({ code: 'CONSTRAINT' });
      for (const { asked } of [written, refused]) {
        expect(asked.map(({ again }) => again)).toEqual([false, true]);
        expect(new Set(asked.map(({ call }) => call)).size).toBe(1);
      }
      expect(written.asked[0]?.call).not.toBe(refused.asked[0]?.call);
    },
  );

  it('I8: is asked again where nobody here gave up, and CLOSED where its replica did', async () => {
    const bench = new Bench((_, nth) => (nth === 1 ? error('ABORTED', { by: 'a' }) : WRITTEN));
    expect(await bench.forwarding().run()).toEqual(WRITTEN);
    const queue = new Bench(
      () => new Promise((resolve) => setTimeout(() => resolve(error('ABORTED', { by: 'a' })), 100)),
    );
    setTimeout(() => queue.closing.abort(), 30);
    await expect(queue.forwarding(5000).run()).rejects.toMatchObject({ code: 'CLOSED' });
    expect(queue.withdrawn).toHaveLength(1);
  });

  it('ends with its replica: CLOSED, or unknown while somebody may have it', async () => {
    const closed = error('CLOSED');
    const nobody = new Bench(() => error('NO_ACTOR'));
    const waiting = nobody.forwarding(5000).run();
    setTimeout(() => nobody.closing.abort(closed), 30);
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' });
    const somebody = new Bench(() => NEVER).forwarding(5000);
    const asking = somebody.run();
    setTimeout(() => somebody.giveUp(closed), 30);
    await expect(asking).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });
});
