import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eligible, type EligibilityLimits, type ReadNeeds } from './eligibility.js';
import type { ReplicaView } from './replica-view.js';

const LIMITS: EligibilityLimits = { silenceMs: 3000, maxLagMs: 10_000, mostSpilled: 4 };
const NEEDS: ReadNeeds = { primaryOnly: false, prefer: 'replicas', tried: new Set() };

function view(id: string, known: Partial<ReplicaView> = {}): ReplicaView {
  return {
    ...{ id, weight: 1, isPrimary: false, isDrained: false, lifecycle: 'following', silentMs: 0 },
    ...{ lagEntries: 0, lagMs: 0, outstanding: 0, circuit: 'closed' },
    ...known,
  };
}

const PRIMARY = view('p', { isPrimary: true, lifecycle: 'primary' });

function idsFor(views: readonly ReplicaView[], needs: Partial<ReadNeeds> = {}): readonly string[] {
  return eligible(views, { ...NEEDS, ...needs }, LIMITS).replicas.map(({ id }) => id);
}

describe('who may be asked', () => {
  it('replicas, while one is well; the primary where none is, and for a strong read', () => {
    expect(idsFor([PRIMARY, view('a'), view('b')])).toEqual(['a', 'b']);
    expect(idsFor([PRIMARY, view('a', { lifecycle: 'stalled' })])).toEqual(['p']);
    expect(idsFor([PRIMARY, view('a')], { primaryOnly: true })).toEqual(['p']);
    expect(idsFor([PRIMARY, view('a')], { prefer: 'any' })).toEqual(['p', 'a']);
    expect(idsFor([PRIMARY, view('a')], { prefer: 'primary' })).toEqual(['p']);
    expect(idsFor([view('a')], { prefer: 'primary' })).toEqual(['a']);
  });

  it('nobody that fails, is silent, is behind, or does not follow, while somebody else is well', () => {
    const well = view('z');
    for (const trouble of [
      { circuit: 'open' },
      { silentMs: 3001 },
      { lagMs: 10_001 },
      { lifecycle: 'catching-up' },
    ] as const)
      expect(idsFor([view('a', trouble), well])).toEqual(['z']);
  });

  it('all that answer, where nobody is well: and it says so', () => {
    const found = eligible([view('a', { circuit: 'open' }), view('b', { silentMs: 9000 })], NEEDS, LIMITS);
    expect(found.replicas).toHaveLength(2);
    expect(found.despite).toMatch(/No replica is well.*a has failed.*b was not heard for 9\.0 s/);
  });

  it('never one that is drained, has ended, or was asked already', () => {
    expect(idsFor([view('a', { isDrained: true }), view('b', { circuit: 'open' })])).toEqual(['b']);
    expect(idsFor([view('a', { isDrained: true })])).toEqual([]);
    expect(idsFor([view('a', { lifecycle: 'closed' }), view('b')])).toEqual(['b']);
    expect(idsFor([view('a'), view('b')], { tried: new Set(['a']) })).toEqual(['b']);
  });

  it('as fresh as the read wants it', () => {
    expect(idsFor([view('a', { lagMs: 400 }), view('b', { lagMs: 90 })], { maxLagMs: 100 })).toEqual(['b']);
  });

  it('the primary of a cluster without other replicas that serve, up to its share', () => {
    const busy = { ...PRIMARY, outstanding: 4 };
    const found = eligible([busy, view('a', { lifecycle: 'stalled' })], NEEDS, LIMITS);
    expect(found.replicas).toEqual([]);
    expect(found.passedOver.map(({ reason }) => reason)).toEqual(['state', 'full']);
  });

  it('those of the own zone first, and of others where it has none', () => {
    const views = [view('a', { zone: 'x' }), view('b', { zone: 'y' })];
    expect(idsFor(views, { zone: 'y' })).toEqual(['b']);
    expect(idsFor(views, { zone: 'w' })).toEqual(['a', 'b']);
    expect(
      idsFor([view('a', { zone: 'x', circuit: 'open' }), view('b', { zone: 'y' })], { zone: 'x' }),
    ).toEqual(['b']);
  });

  const arbitraryView = fc.record({
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    weight: fc.constant(1),
    isPrimary: fc.boolean(),
    isDrained: fc.boolean(),
    lifecycle: fc.constantFrom('following', 'primary', 'catching-up', 'stalled', 'closed'),
    silentMs: fc.constantFrom(0, 5000, Infinity),
    lagEntries: fc.nat(5),
    lagMs: fc.constantFrom(0, 50, 20_000),
    outstanding: fc.nat(6),
    circuit: fc.constantFrom('closed' as const, 'open' as const, 'half-open' as const),
  });

  it('names each of the others with a reason, and passes over nobody for weakness alone', () => {
    const property = fc.property(
      fc.uniqueArray(arbitraryView, { selector: ({ id }) => id }),
      fc.constantFrom('replicas' as const, 'primary' as const, 'any' as const),
      fc.boolean(),
      (views, prefer, primaryOnly) => {
        const { replicas, passedOver, despite } = eligible(views, { ...NEEDS, prefer, primaryOnly }, LIMITS);
        const named = new Set(passedOver.map(({ id }) => id));
        for (const { id } of views) expect(named.has(id)).toBe(!replicas.some((view) => view.id === id));
        if (!primaryOnly) expect(replicas.some(({ isDrained }) => isDrained)).toBe(false);
        const possible = views.filter(({ lifecycle, isDrained }) => lifecycle !== 'closed' && !isDrained);
        const isCapped = passedOver.some(({ reason }) => reason === 'full');
        if (!primaryOnly && possible.length > 0 && !isCapped) expect(replicas).not.toEqual([]);
        if (despite !== undefined) expect(replicas).not.toEqual([]);
      },
    );
    fc.assert(property);
  });
});
