import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  candidateWaitMs,
  obstacleIn,
  PATIENCE_WITH_LAG_MS,
  rankCandidates,
  SAME_LAG_ENTRIES,
  type Candidacy,
  type Obstacles,
} from './candidacy.js';

const ANSWER: Candidacy = {
  ...{ id: 'a', instance: 'i', epoch: 1, seq: 5000, lastSeq: 5000, inSync: false, eligible: true },
  ...{ priority: 100, lagMs: 0, heardPrimaryMsAgo: 10, lastCounter: 7 },
};
const ASYNC = { sync: false, nobodyForMs: 0 };
const SYNC = { sync: true, nobodyForMs: 0 };

function answer(id: string, change: Partial<Candidacy> = {}): Candidacy {
  return { ...ANSWER, id, ...change };
}

function order(answers: readonly Candidacy[], options = ASYNC): string {
  return rankCandidates(answers, options)
    .map(({ candidate, place }) => `${place ?? '-'}${candidate.id}`)
    .join(' ');
}

function reasons(answers: readonly Candidacy[], options = ASYNC): readonly string[] {
  return rankCandidates(answers, options).map(({ reason }) => reason);
}

describe('the order of candidates', () => {
  it('is by priority among those that have read about as much', () => {
    const near = answer('a', { seq: 5000 });
    const far = answer('b', { seq: 5000 - SAME_LAG_ENTRIES, priority: 200 });
    expect(order([near, far])).toBe('1b 2a');
    expect(reasons([near, far])).toEqual([
      'first: of a, its priority is 100, that of b 200',
      'its priority is 100, that of b 200',
    ]);
  });

  it('is by how far they have read when one is far behind', () => {
    const near = answer('a', { seq: 5000, priority: 1 });
    const far = answer('b', { seq: 5000 - SAME_LAG_ENTRIES - 1, priority: 200 });
    const farther = answer('c', { seq: 1, priority: 300 });
    expect(order([farther, far, near])).toBe('1a 2b 3c');
    expect(reasons([near, far, farther])[1]).toBe('it has read 1001 entries less than a');
  });

  it('is by the place in the log among equals, and then by their ids', () => {
    expect(order([answer('c', { seq: 4999 }), answer('b'), answer('a')])).toBe('1a 2b 3c');
    expect(reasons([answer('c', { seq: 4999 }), answer('b'), answer('a')])).toEqual([
      'first: of b, all else is the same as for a, whose id comes first',
      'all else is the same as for a, whose id comes first',
      'it has read up to entry 4999, b up to 5000',
    ]);
  });

  it('has those in front that are in sync, where that says something', () => {
    const inSync = answer('b', { inSync: true, priority: 1, seq: 1 });
    expect(order([answer('a'), inSync], SYNC)).toBe('1b 2a');
    expect(order([answer('a'), inSync], ASYNC)).toBe('1a 2b');
    expect(reasons([answer('a'), inSync], SYNC)[1]).toBe('it is not in sync');
  });

  it('has a candidate alone, and none of nobody', () => {
    expect(reasons([answer('a')])).toEqual(['it is the only candidate']);
    expect(rankCandidates([], SYNC)).toEqual([]);
  });

  it('leaves those out that cannot', () => {
    const answers = [
      answer('a', { eligible: false, why: 'replication has stopped: Disk full.' }),
      answer('b', { priority: 0 }),
      answer('c', { eligible: false }),
      answer('d', { seq: 1 }),
    ];
    expect(order(answers)).toBe('1d -a -b -c');
    expect(reasons(answers).slice(1)).toEqual([
      'replication has stopped: Disk full.',
      'its priority is 0',
      'it says that it cannot',
    ]);
  });

  it('only puts those off that lag, best first', () => {
    const answers = [
      answer('a', { lagMs: 30_001, seq: 10 }),
      answer('b', { lagMs: 60_000, seq: 9, priority: 200 }),
      answer('c', { lagMs: 60_000, eligible: false }),
    ];
    expect(order(answers)).toBe('-a -b -c');
    expect(reasons(answers)[0]).toBe('it lags by 30 s; without a better one it is a candidate after 30 s');
    expect(order(answers, { sync: false, nobodyForMs: PATIENCE_WITH_LAG_MS })).toBe('1b 2a -c');
    const better = answer('d', { lagMs: 30_000, seq: 1 });
    expect(order([...answers, better], { sync: false, nobodyForMs: PATIENCE_WITH_LAG_MS })).toBe(
      '1d -a -b -c',
    );
  });

  it('lets each wait for the one in front of it', () => {
    expect([1, 2, 3].map(candidateWaitMs)).toEqual([0, 200, 400]);
  });
});

const ANSWERS = fc.uniqueArray(
  fc.record({
    id: fc.constantFrom(...'abcdefg'),
    instance: fc.constant('i'),
    epoch: fc.nat(3),
    seq: fc.oneof(fc.nat(5000), fc.nat()),
    lastSeq: fc.nat(),
    inSync: fc.boolean(),
    eligible: fc.boolean(),
    priority: fc.nat(3),
    lagMs: fc.nat(60_000),
    lastCounter: fc.nat(),
  }),
  { selector: ({ id }) => id },
);
const OPTIONS = fc.record({ sync: fc.boolean(), nobodyForMs: fc.nat(60_000) });

describe('the order of any candidates', () => {
  it('is the same however their answers came', () => {
    fc.assert(
      fc.property(
        ANSWERS.chain((answers) =>
          fc.tuple(fc.constant(answers), fc.shuffledSubarray(answers, { minLength: answers.length })),
        ),
        OPTIONS,
        ([answers, shuffled], options) => {
          expect(rankCandidates(shuffled, options)).toEqual(rankCandidates(answers, options));
        },
      ),
    );
  });

  it('has each once, places without a gap, and a reason for each', () => {
    fc.assert(
      fc.property(ANSWERS, OPTIONS, (answers, options) => {
        const ranked = rankCandidates(answers, options);
        expect(ranked.map(({ candidate }) => candidate.id).sort()).toEqual(
          answers.map(({ id }) => id).sort(),
        );
        const places = ranked.flatMap(({ place }) => (place === undefined ? [] : [place]));
        expect(places).toEqual(places.map((_, index) => index + 1));
        expect(ranked.slice(0, places.length).every(({ place }) => place !== undefined)).toBe(true);
        expect(ranked.every(({ reason }) => reason !== '')).toBe(true);
        for (const { candidate, place } of ranked)
          if (place !== undefined) expect(candidate.eligible && candidate.priority > 0).toBe(true);
      }),
    );
  });

  it('is empty only where nobody can, or all lag and it is too early', () => {
    fc.assert(
      fc.property(ANSWERS, OPTIONS, (answers, options) => {
        const able = answers.filter(({ eligible, priority }) => eligible && priority > 0);
        const someone = able.some(({ lagMs }) => lagMs <= 30_000) || options.nobodyForMs >= 30_000;
        const first = rankCandidates(answers, options)[0];
        expect(first?.place === 1).toBe(able.length > 0 && someone);
      }),
    );
  });

  it('never has one in front that is out of sync, far behind, or of a lower priority without a reason', () => {
    fc.assert(
      fc.property(ANSWERS, OPTIONS, (answers, options) => {
        const placed = rankCandidates(answers, options).filter(({ place }) => place !== undefined);
        const highest = Math.max(0, ...placed.map(({ candidate }) => candidate.seq));
        placed.slice(1).forEach(({ candidate: after }, index) => {
          const { candidate: before } = placed[index]!;
          if (options.sync && before.inSync !== after.inSync) return expect(before.inSync).toBe(true);
          const [near, alsoNear] = [before, after].map(({ seq }) => highest - seq <= SAME_LAG_ENTRIES);
          if (near !== alsoNear) return expect(near).toBe(true);
          if (near === true) return expect(before.priority).toBeGreaterThanOrEqual(after.priority);
          return expect(before.seq).toBeGreaterThanOrEqual(after.seq);
        });
      }),
    );
  });
});

describe('what is in the way of a candidate', () => {
  const NONE: Obstacles = {
    ...{
      withoutFailover: false,
      stopped: undefined,
      quarantined: 0,
      gaps: 0,
      schemaTooOld: false,
      priority: 100,
    },
  };

  it('is nothing', () => {
    expect(obstacleIn(NONE)).toBeUndefined();
  });

  it.each<[Partial<Obstacles>, string]>([
    [{ withoutFailover: true }, 'the cluster was created without failover'],
    [{ priority: 0 }, 'its priority is 0'],
    [{ stopped: 'Disk full.' }, 'replication has stopped: Disk full.'],
    [{ quarantined: 1 }, '1 message of the primary is in quarantine'],
    [{ quarantined: 2 }, '2 messages of the primary are in quarantine'],
    [{ gaps: 1 }, '1 transaction is missing'],
    [{ gaps: 3 }, '3 transactions are missing'],
    [{ schemaTooOld: true }, 'its schema is older than that of the cluster'],
  ])('is %j: %s', (change, why) => {
    expect(obstacleIn({ ...NONE, ...change })).toBe(why);
  });
});
