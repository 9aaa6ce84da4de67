import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BALANCE_POLICIES, choose, type BalancePolicy } from './policies.js';
import type { ReplicaView } from './replica-view.js';

function view(id: string, known: Partial<ReplicaView> = {}): ReplicaView {
  return {
    ...{ id, weight: 1, isPrimary: false, isDrained: false, lifecycle: 'following', silentMs: 0 },
    ...{ lagEntries: 0, lagMs: 0, outstanding: 0, circuit: 'closed' },
    ...known,
  };
}

/** A generator of its own, so that a failure is one again. */
function randoms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function shares(policy: BalancePolicy, views: readonly ReplicaView[], draws = 3000): Record<string, number> {
  const credits = new Map<string, number>();
  const random = randoms(7);
  const counts: Record<string, number> = {};
  for (let n = 0; n < draws; n++) {
    const { id } = choose(policy, views, credits, random) as ReplicaView;
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).map(([id, count]) => [id, count / draws]));
}

describe('a policy of the balancer', () => {
  const arbitraryViews = fc
    .uniqueArray(fc.record({ id: fc.string(), weight: fc.double({ min: 0.01, max: 100, noNaN: true }) }), {
      selector: ({ id }) => id,
      maxLength: 7,
    })
    .map((list) => list.map(({ id, weight }) => view(id, { weight })));

  it('chooses one of those that may be asked, and nobody only where there is nobody', () => {
    const property = fc.property(
      fc.constantFrom(...BALANCE_POLICIES),
      arbitraryViews,
      fc.nat(),
      (policy, views, seed) => {
        const chosen = choose(policy, views, new Map(), randoms(seed));
        if (views.length === 0) expect(chosen).toBeUndefined();
        else expect(views).toContain(chosen);
      },
    );
    fc.assert(property);
  });

  it('spreads reads evenly where all are alike', () => {
    const views = ['a', 'b', 'c'].map((id) => view(id));
    for (const policy of BALANCE_POLICIES)
      for (const share of Object.values(shares(policy, views))) expect(share).toBeCloseTo(1 / 3, 1);
  });

  it('spreads them by weight: random and round-robin', () => {
    const views = [view('a', { weight: 3 }), view('b')];
    expect(shares('random', views)['a']).toBeCloseTo(0.75, 1);
    expect(shares('round-robin', views)['a']).toBe(0.75);
  });

  it('round-robin gives a heavy one its turns without a burst', () => {
    const views = [view('a', { weight: 3 }), view('b'), view('c')];
    const credits = new Map<string, number>();
    const turns = Array.from({ length: 5 }, () => choose('round-robin', views, credits, () => 0)?.id);
    expect(turns.join('')).toBe('abaca');
  });

  it('least-outstanding prefers who is less busy, for its weight', () => {
    const busy = [view('a', { outstanding: 9 }), view('b')];
    expect(shares('least-outstanding', busy)).toEqual({ b: 1 });
    const heavy = [view('a', { outstanding: 9, weight: 20 }), view('b')];
    expect(shares('least-outstanding', heavy)).toEqual({ a: 1 });
  });

  it('nearest keeps to those that are about as near as the nearest, and measures unknown ones', () => {
    const views = [
      view('a', { roundTripMs: 1 }),
      view('b', { roundTripMs: 1.9 }),
      view('c', { roundTripMs: 40 }),
    ];
    expect(Object.keys(shares('nearest', views)).sort()).toEqual(['a', 'b']);
    expect(Object.keys(shares('nearest', [...views, view('d')]))).toContain('d');
  });

  it('least-lag asks those that are least behind', () => {
    const views = [view('a', { lagEntries: 3 }), view('b', { lagEntries: 1 }), view('c', { lagEntries: 1 })];
    expect(Object.keys(shares('least-lag', views)).sort()).toEqual(['b', 'c']);
  });
});
