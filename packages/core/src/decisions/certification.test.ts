import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { codeThrownBy } from '../../test/code-thrown-by.js';
import type { Claim } from '../model/transaction.js';
import {
  CERTIFICATION_LIMITS,
  Certifier,
  type CertificationLimits,
  type CertifiedGroup,
  type Verdict,
} from './certification.js';
import { claimOf, isShared } from './claims.js';

/** An entry of the log that certification is told about; `pass` has no group. */
interface Entry {
  readonly seq: number;
  readonly group?: CertifiedGroup;
}

const entry = fc.record({
  /** Entries in front of it that are nobody's writes. */
  gap: fc.oneof({ arbitrary: fc.constant(0), weight: 4 }, { arbitrary: fc.nat({ max: 6 }), weight: 1 }),
  pass: fc.oneof({ arbitrary: fc.constant(false), weight: 8 }, { arbitrary: fc.constant(true), weight: 1 }),
  origin: fc.constantFrom('a', 'b', 'c'),
  lag: fc.nat({ max: 7 }),
  claims: fc.array(fc.array(fc.nat({ max: 23 }), { maxLength: 4 }), { minLength: 1, maxLength: 3 }),
});

/** A log with few things to claim, so that conflicts are frequent. */
const log: fc.Arbitrary<readonly Entry[]> = fc
  .array(entry, { minLength: 1, maxLength: 40 })
  .map((entries) => {
    const counters: Record<string, number> = {};
    let seq = 0;
    return entries.map(({ gap, pass, origin, lag, claims }) => {
      seq += gap + 1;
      if (pass) return { seq };
      const firstCounter = (counters[origin] ?? 0) + 1;
      counters[origin] = firstCounter + claims.length - 1;
      const sync = { token: 't', readSeq: Math.max(0, seq - 1 - lag), claims };
      return { seq, group: { seq, origin, firstCounter, sync } };
    });
  });

const limits: fc.Arbitrary<CertificationLimits> = fc.record({
  entries: fc.integer({ min: 1, max: 14 }),
  claims: fc.integer({ min: 1, max: 40 }),
});

function give(certifier: Certifier, { seq, group }: Entry): Verdict {
  if (group !== undefined) return certifier.judge(group);
  certifier.pass(seq);
  return { rejected: [] };
}

function conflicting(one: Claim, other: Claim): boolean {
  return one >> 1 === other >> 1 && !(isShared(one) && isShared(other));
}

function claimsIn(group: CertifiedGroup): number {
  return group.sync.claims.flat().length;
}

interface Committed {
  readonly origin: string;
  readonly counter: number;
  readonly seq: number;
  readonly readSeq: number;
  readonly claims: readonly Claim[];
}

/**
 * The rules as they are written down: every committed transaction is kept, and each is compared
 * with each.
 */
class Model {
  readonly committed: Committed[] = [];
  readonly groups: CertifiedGroup[] = [];
  barrier = 0;

  constructor(private readonly limits: CertificationLimits) {}

  floorAfter(seq: number): number {
    let floor = Math.max(0, seq - this.limits.entries);
    const claimsAfter = (from: number): number =>
      this.groups.reduce((sum, group) => (group.seq > from ? sum + claimsIn(group) : sum), 0);
    while (claimsAfter(floor) > this.limits.claims) floor++;
    return floor;
  }

  judge(group: CertifiedGroup): string[] {
    const { seq, sync } = group;
    const floor = this.floorAfter(seq - 1);
    const before = this.committed.filter((each) => each.seq > sync.readSeq && each.seq < seq);
    const reasons: string[] = [];
    for (const claims of sync.claims) {
      const conflict = claims.some((claim) =>
        before.some((each) => each.claims.some((other) => conflicting(claim, other))),
      );
      if (reasons.some((reason) => reason !== '')) reasons.push('builds-on');
      else if (sync.readSeq < floor) reasons.push('behind');
      else reasons.push(sync.readSeq < this.barrier || conflict ? 'conflict' : '');
    }
    this.groups.push(group);
    sync.claims.forEach((claims, i) => {
      const { origin, firstCounter } = group;
      if (reasons[i] === '')
        this.committed.push({ origin, counter: firstCounter + i, seq, readSeq: sync.readSeq, claims });
    });
    return reasons;
  }
}

function assertAsModel(certifier: Certifier, model: Model, each: Entry): void {
  const { seq, group } = each;
  if (group === undefined) {
    certifier.pass(seq);
    model.barrier = seq;
  } else {
    const others = [...model.committed];
    const expected = model
      .judge(group)
      .map((reason, index) => ({ index, counter: group.firstCounter + index, reason }))
      .filter(({ reason }) => reason !== '');
    const { rejected } = certifier.judge(group);
    expect(rejected.map(({ index, counter, reason }) => ({ index, counter, reason }))).toEqual(expected);
    for (const { index, reason, claim, winner } of rejected) {
      expect((claim === undefined) === (winner === undefined)).toBe(true);
      if (claim === undefined || winner === undefined) continue;
      expect(reason).toBe('conflict');
      expect(group.sync.claims[index]).toContain(claim);
      const known = others.find(
        ({ origin, counter }) => origin === winner.origin && counter === winner.counter,
      );
      expect(known?.seq).toBe(winner.seq);
      expect(known?.claims.some((other) => conflicting(claim, other))).toBe(true);
    }
  }
  expect(certifier.seq).toBe(seq);
  expect(certifier.floor).toBe(model.floorAfter(seq));
}

describe('certification', () => {
  it('I4: comes to the verdicts of the rules, whatever the log holds', () => {
    fc.assert(
      fc.property(log, limits, (entries, bounds) => {
        const certifier = new Certifier(bounds);
        const model = new Model(bounds);
        for (const each of entries) assertAsModel(certifier, model, each);
        // First committer wins: nobody committed over what it had not seen.
        for (const later of model.committed) {
          for (const earlier of model.committed) {
            if (earlier.seq >= later.seq || earlier.seq <= later.readSeq) continue;
            const clash = later.claims.some((claim) =>
              earlier.claims.some((other) => conflicting(claim, other)),
            );
            expect(clash).toBe(false);
          }
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('I4: comes to the same verdicts after a restart at any entry', () => {
    fc.assert(
      fc.property(log, limits, (entries, bounds) => {
        const whole = new Certifier(bounds);
        const verdicts = entries.map((each) => give(whole, each));
        for (let cut = 1; cut < entries.length; cut++) {
          const position = entries[cut - 1]?.seq ?? 0;
          const restarted = new Certifier(bounds);
          entries.slice(0, cut).forEach(({ seq, group }, index) => {
            if (seq <= position - bounds.entries) return;
            if (group === undefined) restarted.pass(seq);
            else restarted.restore(group, verdicts[index]?.rejected.map(({ counter }) => counter) ?? []);
          });
          const again = entries.slice(cut).map((each) => give(restarted, each));
          expect(again).toStrictEqual(verdicts.slice(cut));
          expect([restarted.floor, restarted.seq]).toEqual([whole.floor, whole.seq]);
        }
      }),
      { numRuns: 500 },
    );
  });

  it('I2: says the same again about entries that are planned again', () => {
    fc.assert(
      fc.property(
        log,
        limits,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 13 }))),
        (entries, bounds, again) => {
          const certifier = new Certifier(bounds);
          const straight = new Certifier(bounds);
          const verdicts: Verdict[] = [];
          entries.forEach((each, at) => {
            verdicts.push(give(certifier, each));
            expect(verdicts.at(-1)).toStrictEqual(give(straight, each));
            for (const [when, back] of again) {
              const from = at - back;
              if (when % entries.length !== at || from < 0) continue;
              for (let i = from; i <= at; i++) {
                const old = entries[i] as Entry;
                if (old.seq > each.seq - bounds.entries)
                  expect(give(certifier, old)).toStrictEqual(verdicts[i]);
              }
            }
          });
        },
      ),
      { numRuns: 1000 },
    );
  });

  it.each([
    ['claims', { entries: 50, claims: 120 }, 120],
    ['entries', { entries: 50, claims: 1000 }, 51 * 6],
  ])('I11: keeps a bounded number of claims and verdicts: limit of %s', (_, bounds, most) => {
    const certifier = new Certifier(bounds);
    for (let seq = 1; seq <= 5000; seq++) {
      const claims = [Array.from({ length: seq % 7 }, (_, i) => seq * 32 + i * 2)];
      const group = { seq, origin: 'a', firstCounter: seq, sync: { token: 't', readSeq: seq - 1, claims } };
      expect(certifier.judge(group).rejected).toEqual([]);
      expect(certifier.size).toBeLessThanOrEqual(most);
      if (seq <= 50) continue;
      expect(codeThrownBy(() => certifier.judge({ ...group, seq: seq - 50 }))).toBe('INTERNAL');
      expect(codeThrownBy(() => certifier.judge({ ...group, seq: seq - 49 }))).toBe('nothing was thrown');
    }
  });

  it('I11: lets a group with more claims than the limit commit, and forgets it at once', () => {
    const certifier = new Certifier({ entries: 100, claims: 3 });
    const claims = [[2, 4, 6, 8]];
    const big = { seq: 9, origin: 'a', firstCounter: 1, sync: { token: 't', readSeq: 8, claims } };
    expect(certifier.judge(big).rejected).toEqual([]);
    expect([certifier.size, certifier.floor]).toEqual([0, 9]);
    expect(certifier.judge(big).rejected).toEqual([]);
    const late = { seq: 10, origin: 'b', firstCounter: 1, sync: { token: 't', readSeq: 8, claims: [[20]] } };
    expect(certifier.judge(late).rejected).toEqual([{ index: 0, counter: 1, reason: 'behind' }]);
  });
});

describe('certification of two writers', () => {
  const on = (mode: 'exclusive' | 'shared', key: bigint): Claim => claimOf('row', 'doctors', [key], mode);
  const group = (seq: number, origin: string, readSeq: number, ...claims: Claim[][]): CertifiedGroup => ({
    seq,
    origin,
    firstCounter: 7,
    sync: { token: 't', readSeq, claims },
  });

  it('lets the first committer win, and names it', () => {
    const certifier = new Certifier();
    const row = on('exclusive', 1n);
    expect(certifier.judge(group(11, 'a', 10, [row])).rejected).toEqual([]);
    expect(certifier.judge(group(12, 'b', 10, [on('exclusive', 2n)], [row], [])).rejected).toEqual([
      { index: 1, counter: 8, reason: 'conflict', claim: row, winner: { origin: 'a', counter: 7, seq: 11 } },
      { index: 2, counter: 9, reason: 'builds-on' },
    ]);
    // Run again after it had seen the winner.
    expect(certifier.judge(group(13, 'b', 12, [row])).rejected).toEqual([]);
    expect(certifier.judge(group(14, 'a', 12, [row])).rejected).toMatchObject([{ winner: { seq: 13 } }]);
  });

  it('prevents write skew where both lock what they rely on', () => {
    const certifier = new Certifier();
    expect(certifier.judge(group(2, 'a', 1, [on('shared', 2n), on('exclusive', 1n)])).rejected).toEqual([]);
    expect(certifier.judge(group(3, 'b', 1, [on('shared', 1n), on('exclusive', 2n)])).rejected).toMatchObject(
      [{ reason: 'conflict', winner: { origin: 'a' } }],
    );
  });

  it('lets any number share a claim', () => {
    const certifier = new Certifier();
    expect(certifier.judge(group(2, 'a', 1, [on('shared', 1n)])).rejected).toEqual([]);
    expect(certifier.judge(group(3, 'b', 1, [on('shared', 1n)])).rejected).toEqual([]);
    expect(certifier.judge(group(4, 'c', 1, [on('exclusive', 1n)])).rejected).toHaveLength(1);
  });

  it('sees what others claimed behind a claim of the same group', () => {
    const certifier = new Certifier();
    certifier.judge(group(2, 'a', 1, [on('shared', 1n)]));
    const mixed = group(3, 'b', 1, [on('shared', 1n)], [on('exclusive', 1n)]);
    expect(certifier.judge(mixed).rejected).toMatchObject([{ index: 1, winner: { origin: 'a', seq: 2 } }]);
  });

  it('keeps nothing of what it rejected', () => {
    const certifier = new Certifier();
    certifier.judge(group(2, 'a', 1, [on('exclusive', 1n)]));
    certifier.judge(group(3, 'b', 1, [on('exclusive', 1n), on('exclusive', 2n)]));
    expect(certifier.judge(group(4, 'c', 2, [on('exclusive', 2n)])).rejected).toEqual([]);
  });

  it('rejects whoever had not seen an entry whose claims nobody knows', () => {
    const certifier = new Certifier();
    certifier.pass(5);
    certifier.pass(5);
    certifier.pass(4);
    expect(certifier.judge(group(6, 'a', 4, [])).rejected).toEqual([
      { index: 0, counter: 7, reason: 'conflict' },
    ]);
    expect(certifier.judge(group(7, 'a', 5, [])).rejected).toEqual([]);
  });

  it('refuses entries out of order, and verdicts that it never gives', () => {
    const certifier = new Certifier();
    certifier.judge(group(5, 'a', 4, []));
    certifier.pass(8);
    expect(codeThrownBy(() => certifier.judge(group(4, 'a', 3, [])))).toBe('INTERNAL');
    expect(codeThrownBy(() => certifier.judge(group(8, 'a', 3, [])))).toBe('INTERNAL');
    expect(codeThrownBy(() => certifier.pass(9))).toBe('nothing was thrown');
    certifier.judge(group(10, 'a', 9, []));
    expect(codeThrownBy(() => certifier.pass(10))).toBe('INTERNAL');
    for (const rejected of [[7], [6, 7], [7, 8, 9], [9]])
      expect(codeThrownBy(() => certifier.restore(group(11, 'a', 9, [], []), rejected))).toBe('INTERNAL');
    expect(certifier.restore(group(11, 'a', 9, [], []), [8]).rejected).toEqual([
      { index: 1, counter: 8, reason: 'conflict' },
    ]);
  });

  it('has the limits that every replica must have', () => {
    expect(CERTIFICATION_LIMITS).toEqual({ entries: 4096, claims: 262_144 });
  });
});
