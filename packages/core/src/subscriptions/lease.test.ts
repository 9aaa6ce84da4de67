import { describe, expect, it } from 'vitest';
import { manualClock } from '../../test/manual-clock.js';
import {
  isHeldBy,
  leaseLeftMs,
  released,
  renewalMs,
  sighted,
  type Sighting,
  taken,
  takeoverInMs,
} from './lease.js';
import type { SubscriptionHolder, SubscriptionRecord } from './subscription-record.js';

const LEASE_MS = 10_000;
const holder = (instance: string): SubscriptionHolder => ({ replica: 'eu-1', instance, leaseMs: LEASE_MS });
const record = (instance: string, before?: SubscriptionRecord): SubscriptionRecord =>
  taken('mailer', before, holder(instance), before?.place ?? 'begin.0', 0);

describe('a standby', () => {
  it('takes over when it has seen one revision for the whole lease', () => {
    const held = record('a');
    const seen = sighted(undefined, 7, 1000);
    expect(takeoverInMs(held, seen, 1000)).toBe(LEASE_MS);
    expect(takeoverInMs(held, sighted(seen, 7, 6000), 6000)).toBe(5000);
    expect(takeoverInMs(held, sighted(seen, 7, 11_000), 11_000)).toBe(0);
  });

  it('begins anew with every revision, and at once where nobody holds', () => {
    const held = record('a');
    const renewed = sighted(sighted(undefined, 7, 0), 8, 9000);
    expect(renewed.sinceMs).toBe(9000);
    expect(takeoverInMs(held, renewed, 18_000)).toBe(1000);
    expect(takeoverInMs(released(held, 'p.1', 5), renewed, 9000)).toBe(0);
  });

  it('counts what passed while it was paused itself: the revision would be another one', () => {
    const seen = sighted(undefined, 7, 0);
    expect(takeoverInMs(record('a'), sighted(seen, 7, 60_000), 60_000)).toBe(0);
  });
});

describe('I16: a holder stops delivering before a standby can take over', () => {
  it.each([0, 1, 400, 2999])('whenever the standby looks (%i ms after the write)', (offsetMs) => {
    const [holding, standing] = [manualClock(0), manualClock(0)];
    standing.pass(123_456);
    const pass = (ms: number): void => [holding, standing].forEach((clock) => clock.pass(ms));
    const confirmedMs = holding.monotonicMs();
    pass(offsetMs);
    let seen: Sighting | undefined = sighted(undefined, 1, standing.monotonicMs());
    // The holder is cut off: no write of its is confirmed any more.
    for (let ms = 0; ms < 2 * LEASE_MS; ms += 100) {
      const askedMs = standing.monotonicMs();
      seen = sighted(seen, 1, askedMs);
      if (takeoverInMs(record('a'), seen, askedMs) === 0)
        expect(leaseLeftMs(confirmedMs, LEASE_MS, holding.monotonicMs())).toBe(0);
      pass(100);
    }
    expect(takeoverInMs(record('a'), seen, standing.monotonicMs())).toBe(0);
  });

  it('also when its clock runs slower than that of the standby, by less than a tenth', () => {
    expect(leaseLeftMs(0, LEASE_MS, 0.92 * LEASE_MS)).toBe(0);
    expect(leaseLeftMs(0, LEASE_MS, 0.5 * LEASE_MS)).toBeGreaterThan(0);
  });

  it('renews early enough for two renewals to get lost', () => {
    expect(3 * renewalMs(LEASE_MS)).toBeLessThanOrEqual(LEASE_MS);
    expect(2 * renewalMs(LEASE_MS)).toBeLessThan(0.9 * LEASE_MS);
  });
});

describe('the record', () => {
  it('I16: has another epoch with every holder, also after it was removed', () => {
    const first = record('a');
    const second = taken('mailer', first, holder('b'), first.place, 9);
    expect([first.epoch, second.epoch]).toEqual([1, 2]);
    expect(second).toMatchObject({ createdAtMs: 0, writtenAtMs: 9, place: 'begin.0' });
    const { holder: _, ...free } = second;
    const again = taken('mailer', { ...free, epoch: 3, removed: true }, holder('a'), 'new.0', 20);
    expect(again).toMatchObject({ epoch: 4, createdAtMs: 20, place: 'new.0' });
    expect(again).not.toHaveProperty('removed');
  });

  it('is held by one instance, of one epoch', () => {
    const held = record('a');
    expect(isHeldBy(held, 'a', 1)).toBe(true);
    expect(isHeldBy(held, 'b', 1)).toBe(false);
    expect(isHeldBy(held, 'a', 2)).toBe(false);
    expect(isHeldBy(released(held, held.place, 0), 'a', 1)).toBe(false);
    expect(isHeldBy({ ...held, removed: true }, 'a', 1)).toBe(false);
  });
});
