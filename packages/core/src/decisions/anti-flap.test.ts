import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FLAP_WINDOW_MS, nextPromotion } from './anti-flap.js';

const NOW = 1_000_000;

describe('promotions one after the other', () => {
  it.each<[string, readonly number[], number, boolean]>([
    ['none before', [], 0, false],
    ['two just before', [NOW - 1, NOW], 0, false],
    ['three before', [NOW - 2000, NOW - 9000, NOW - 1000], 4000, true],
    ['three, the last one long ago', [NOW - 9000, NOW - 8000, NOW - 5000], 0, true],
    ['four before', [1, 2, 3, 4].map((n) => NOW - n), 9999, true],
    ['five before', [1, 2, 3, 4, 5].map((n) => NOW - n), 19_999, true],
    ['twenty before', Array.from({ length: 20 }, () => NOW), 60_000, true],
    ['three, two of them too long ago', [NOW, NOW - FLAP_WINDOW_MS, NOW - FLAP_WINDOW_MS - 1], 0, false],
    ['three by a clock that was ahead', [NOW + 1e9, NOW + 2e9, NOW + 3e9], 0, false],
    ['two, and one by a clock that was ahead', [NOW - 2000, NOW - 1000, NOW + 1e9], 0, false],
  ])('with %s', (_, promotions, waitMs, flapping) => {
    expect(nextPromotion(promotions, NOW)).toMatchObject({ allowedAtMs: NOW + waitMs, flapping });
  });

  it('never wait for more than a minute, and are few even when each is taken at once', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(2 * NOW), { maxLength: 50 }), (promotions) => {
        const { allowedAtMs, recent } = nextPromotion(promotions, NOW);
        expect(allowedAtMs).toBeGreaterThanOrEqual(NOW);
        expect(allowedAtMs).toBeLessThanOrEqual(NOW + 60_000);
        expect(recent).toBeLessThanOrEqual(promotions.length);
      }),
    );
    const taken: number[] = [];
    for (let nowMs = 0; nowMs < FLAP_WINDOW_MS; nowMs = taken.at(-1)! + 1)
      taken.push(nextPromotion(taken, nowMs).allowedAtMs);
    expect(taken.length).toBeLessThanOrEqual(12);
  });
});
