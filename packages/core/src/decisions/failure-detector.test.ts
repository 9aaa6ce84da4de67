import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LeaseRecord } from '../model/lease-record.js';
import {
  detectorOf,
  detectorStep,
  detectorVerdict,
  type DetectorEvent,
  type DetectorState,
} from './failure-detector.js';

const SETTINGS = { leaseMs: 2000, marginMs: 250, probeMs: 100, goneMs: 1000 };
const SILENT_MS = SETTINGS.leaseMs + SETTINGS.marginMs;

function lease(n: number, change: Partial<LeaseRecord> = {}): LeaseRecord {
  return { epoch: 3, holder: 'p', instance: 'i', leaseMs: 2000, n, ...change };
}

function read(atMs: number, n: number, change: Partial<LeaseRecord> = {}): DetectorEvent {
  return { type: 'read', entry: { seq: n, record: lease(n, change) }, askedAtMs: atMs, atMs };
}

function renewal(atMs: number, n: number, change: Partial<LeaseRecord> = {}): DetectorEvent {
  return { type: 'renewal', record: lease(n, change), atMs };
}

function probe(type: 'answered' | 'no-responders' | 'timeout', sentAtMs: number): DetectorEvent {
  return { type, sentAtMs };
}

/** One that began at 0 and has read lease number 1. */
function after(...events: readonly DetectorEvent[]): DetectorState {
  return [read(0, 1), ...events].reduce(detectorStep, detectorOf(SETTINGS, 3, 0));
}

function lossOf(state: DetectorState, nowMs: number): string {
  const verdict = detectorVerdict(state, nowMs);
  return verdict.type === 'lost' ? verdict.why : verdict.type;
}

describe('a detector that has just begun', () => {
  it('reads the lease first', () => {
    expect(detectorVerdict(detectorOf(SETTINGS, 3, 0), 0)).toEqual({ type: 'read' });
    expect(detectorVerdict(after(), 0)).toEqual({ type: 'present', lookAtMs: SILENT_MS });
  });

  it('begins to wait with what it read first, however late that was', () => {
    const begun = [read(9000, 1), read(9001, 1)].reduce(detectorStep, detectorOf(SETTINGS, 3, 0));
    expect(detectorVerdict(begun, 9001)).toEqual({ type: 'present', lookAtMs: 9000 + SILENT_MS });
  });
});

describe('(a) a primary that nobody listens for', () => {
  it('is gone when that lasts', () => {
    const before = [1000, 1500, 1999].map((atMs) => probe('no-responders', atMs));
    expect(lossOf(after(...before), 1999)).toBe('present');
    expect(lossOf(after(...before, probe('no-responders', 2000)), 2000)).toBe('gone');
  });

  it.each(['answered', 'timeout'] as const)('is not when a probe is %s in between', (type) => {
    const events = [
      ...[probe('no-responders', 200), probe(type, 700), probe('no-responders', 800)],
      probe('no-responders', 1700),
    ];
    expect(lossOf(after(...events), 1700)).toBe('present');
    expect(lossOf(after(...events, probe('no-responders', 1800)), 1800)).toBe('gone');
  });

  it('is gone although an earlier probe got no answer, which comes out later', () => {
    const events = [probe('no-responders', 1000), probe('timeout', 990), probe('no-responders', 2000)];
    expect(lossOf(after(...events), 2000)).toBe('gone');
  });

  it('is not when the answers come out of order', () => {
    const events = [probe('answered', 1500), probe('no-responders', 400), probe('no-responders', 1600)];
    expect(lossOf(after(...events), 1600)).toBe('present');
  });

  it('is not when it goes on to renew its lease', () => {
    const events = [probe('no-responders', 1000), renewal(1500, 2), probe('no-responders', 2000)];
    expect(lossOf(after(...events), 2000)).toBe('present');
  });

  it('is back when somebody listens again', () => {
    const events = [probe('no-responders', 1000), probe('no-responders', 2000), probe('answered', 2100)];
    expect(lossOf(after(...events), 2100)).toBe('present');
  });
});

describe('(b) a primary that does not renew its lease', () => {
  it('is lost when a fresh look shows the same one', () => {
    const heard = after(renewal(500, 2));
    expect(detectorVerdict(heard, 500)).toEqual({ type: 'present', lookAtMs: 500 + SILENT_MS });
    expect(lossOf(heard, 500 + SILENT_MS)).toBe('read');
    expect(lossOf(detectorStep(heard, read(500 + SILENT_MS, 2)), 500 + SILENT_MS)).toBe('silent');
  });

  it('is not lost by a look that was asked for before', () => {
    const looked = after({ ...read(3000, 1), askedAtMs: SILENT_MS - 1 } as DetectorEvent);
    expect(lossOf(looked, 3000)).toBe('read');
  });

  it('is there when this replica was deaf', () => {
    const looked = after(read(SILENT_MS, 5));
    expect(detectorVerdict(looked, SILENT_MS)).toEqual({ type: 'present', lookAtMs: 2 * SILENT_MS });
    expect(lossOf(detectorStep(looked, read(2 * SILENT_MS, 5)), 2 * SILENT_MS)).toBe('silent');
  });

  it('is lost although it answers, or there is no answer at all', () => {
    const events = [probe('answered', 2000), probe('timeout', 2100), read(SILENT_MS, 1)];
    expect(lossOf(after(...events), SILENT_MS)).toBe('silent');
  });

  it('is never lost by probes without an answer', () => {
    const events = Array.from({ length: 100 }, (_, n) => probe('timeout', n * 100));
    expect(lossOf(after(renewal(9000, 2), ...events), 10_000)).toBe('present');
  });

  it.each<[string, Partial<LeaseRecord>, number]>([
    ['the same number again', {}, 1],
    ['a lower number', {}, 0],
    ['one of an epoch that is over', { epoch: 2 }, 7],
  ])('is not helped by %s', (_, change, n) => {
    expect(lossOf(after(renewal(2000, n, change), read(SILENT_MS, 1)), SILENT_MS)).toBe('silent');
  });

  it('is looked at again when somebody else takes the lease, or tries to', () => {
    const rival = after(renewal(2000, 1, { instance: 'other', epoch: 4 }));
    expect(lossOf(rival, 2000)).toBe('read');
    expect(detectorVerdict(detectorStep(rival, read(2001, 1)), 2001)).toEqual({
      ...{ type: 'present', lookAtMs: SILENT_MS },
    });
    const taken = detectorStep(rival, read(2001, 1, { instance: 'other', epoch: 4 }));
    expect(detectorVerdict(taken, 2001)).toEqual({ type: 'present', lookAtMs: 2001 + SILENT_MS });
  });

  it('is there again when it renews the lease all the same', () => {
    expect(lossOf(after(read(SILENT_MS, 1), renewal(SILENT_MS + 1, 2)), SILENT_MS + 1)).toBe('present');
  });

  it('counts as having the lease for as long as it lasts when somebody has deleted that', () => {
    const empty = (atMs: number): DetectorEvent => {
      return { type: 'read', entry: { seq: 0, record: undefined }, askedAtMs: atMs, atMs };
    };
    const deleted = after(empty(2000), empty(2000 + SILENT_MS - 1));
    expect(lossOf(deleted, 2000 + SILENT_MS - 1)).toBe('present');
    expect(lossOf(detectorStep(deleted, empty(2000 + SILENT_MS)), 2000 + SILENT_MS)).toBe('silent');
  });
});

describe('(c) a lease of an epoch that is over', () => {
  it('is void when the primary of the new one does not take it', () => {
    const begun = after({ type: 'epoch', epoch: 4, atMs: 1000 }, read(1001, 1));
    expect(detectorVerdict(begun, 1001)).toEqual({ type: 'present', lookAtMs: 2000 });
    expect(lossOf(begun, 2000)).toBe('read');
    expect(lossOf(detectorStep(begun, read(2000, 1)), 2000)).toBe('void');
  });

  it('is another one when it does', () => {
    const taken = after(
      { type: 'epoch', epoch: 4, atMs: 1000 },
      read(1500, 1, { epoch: 4, instance: 'new' }),
    );
    expect(detectorVerdict(taken, 2500)).toEqual({ type: 'present', lookAtMs: 1500 + SILENT_MS });
  });

  it('is that of the primary to come when its epoch is newer', () => {
    expect(lossOf(after(read(1500, 1, { epoch: 4, instance: 'new' })), 2500)).toBe('present');
  });
});

describe('a process that was away itself', () => {
  const GONE = [1000, 2000].map((atMs) => probe('no-responders', atMs));

  it.each<[string, readonly DetectorEvent[]]>([
    [
      'the connection',
      [
        { type: 'disconnected', atMs: 1500 },
        { type: 'connected', atMs: 1900 },
      ],
    ],
    ['the processor', [{ type: 'turn', dueAtMs: 1500, atMs: 1900 }]],
  ])('begins to wait anew when it had lost %s', (_, events) => {
    const [first, second] = GONE;
    const state = after(first!, ...events, read(1900, 1), second!);
    expect(lossOf(state, 2000)).toBe('present');
    expect(detectorVerdict(state, 2000)).toEqual({ type: 'present', lookAtMs: 1900 + SILENT_MS });
    expect(lossOf(detectorStep(state, probe('no-responders', 3000)), 3000)).toBe('gone');
    expect(lossOf(detectorStep(state, read(1900 + SILENT_MS, 1)), 9000)).toBe('silent');
  });

  it('forgets what it had found before', () => {
    const state = after(...GONE, { type: 'turn', dueAtMs: 2000, atMs: 2200 }, read(2200, 1));
    expect(lossOf(state, 2200)).toBe('present');
  });

  it('does not count a turn that is a little late', () => {
    expect(lossOf(after(...GONE, { type: 'turn', dueAtMs: 2000, atMs: 2100 }), 2100)).toBe('gone');
  });

  it('finds nothing without a connection', () => {
    const away = after({ type: 'disconnected', atMs: 100 }, probe('no-responders', 200), read(9000, 1));
    expect(detectorVerdict(away, 1e9)).toEqual({ type: 'present', lookAtMs: Infinity });
  });
});

describe('any history', () => {
  const ms = fc.nat(200);
  /** What happens to a primary that lives and renews, and to one follower of it. */
  const HAPPENING = fc.oneof(
    fc.record({ type: fc.constantFrom('renew', 'renew', 'renew', 'read', 'rival', 'old'), ms }),
    fc.record({ type: fc.constantFrom('answered', 'timeout', 'pause', 'reconnect'), ms }),
  );

  it('never loses a primary that renews in time, whatever is lost, late or refused', () => {
    fc.assert(
      fc.property(fc.array(HAPPENING, { maxLength: 120 }), fc.boolean(), (happenings, deaf) => {
        let [state, nowMs, n, sentMs] = [detectorOf(SETTINGS, 3, 0), 0, 1, 0];
        const step = (event: DetectorEvent): void => void (state = detectorStep(state, event));
        for (const { type, ms: passMs } of happenings) {
          nowMs += passMs;
          // It renews at least every 500 ms; a follower that is deaf only reads.
          while (nowMs - sentMs >= 500) [n, sentMs] = [n + 1, sentMs + 500];
          if (type === 'renew') [n, sentMs] = [n + 1, nowMs];
          if (type === 'renew' && !deaf) step(renewal(nowMs, n));
          if (type === 'read') step(read(nowMs, n));
          if (type === 'rival') step(renewal(nowMs, 1, { instance: 'other', epoch: 4 }));
          if (type === 'old') step(renewal(nowMs, 99, { instance: 'old', epoch: 2 }));
          if (type === 'answered' || type === 'timeout') step(probe(type, nowMs - passMs));
          if (type === 'pause') step({ type: 'turn', dueAtMs: nowMs - passMs, atMs: nowMs });
          if (type === 'reconnect') {
            step({ type: 'disconnected', atMs: nowMs });
            step({ type: 'connected', atMs: nowMs });
          }
          if (detectorVerdict(state, nowMs).type === 'read') step(read(nowMs, n));
          expect(lossOf(state, nowMs)).not.toMatch(/gone|silent|void/);
        }
      }),
      { numRuns: 1000 },
    );
  });

  it('always finds one that has ended, in bounded time', () => {
    fc.assert(
      fc.property(fc.array(HAPPENING, { maxLength: 40 }), fc.boolean(), (happenings, host) => {
        let [state, nowMs, n] = [after(), 0, 1];
        const step = (event: DetectorEvent): void => void (state = detectorStep(state, event));
        for (const { type, ms: passMs } of happenings) {
          nowMs += passMs;
          if (type === 'renew') step(renewal(nowMs, (n += 1)));
          if (type === 'rival') step(renewal(nowMs, 1, { instance: 'other', epoch: 4 }));
          if (type === 'reconnect') step({ type: 'connected', atMs: nowMs });
        }
        const diedMs = nowMs;
        // A host that is gone answers nothing; for a process that is, the server does.
        for (; !['gone', 'silent'].includes(lossOf(state, nowMs)); nowMs += 100) {
          step(probe(host ? 'timeout' : 'no-responders', nowMs));
          if (detectorVerdict(state, nowMs).type === 'read') step(read(nowMs, n));
          expect(nowMs - diedMs).toBeLessThanOrEqual((host ? SILENT_MS : SETTINGS.goneMs) + 300);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
