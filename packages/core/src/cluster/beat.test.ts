import { describe, expect, it } from 'vitest';
import { encodeControl } from '../codec/control.js';
import { decodeBeat, encodeBeat, type Beat } from './beat.js';

const BEAT: Beat = {
  ...{
    id: 'a',
    instance: 'i',
    startedAtMs: 1,
    lifecycle: 'following',
    generation: 'g',
    seq: 7,
    appliedSeq: 6,
  },
  ...{ waitsFor: { b: 3 }, waitsWhy: { b: 'It is late.' }, strangers: ['c'], vector: { b: 2 } },
  ...{ lagEntries: 4, lagMs: 1200, unpublished: 0, nowMs: 99 },
  primary: { epoch: 2, id: 'b' },
  reads: { weight: 2.5, zone: 'eu', isDrained: true },
};

describe('a beat', () => {
  it('comes back as it was', () => {
    expect(decodeBeat(encodeBeat(BEAT))).toEqual(BEAT);
  });

  it('of a build that says nothing of reads is one of a replica like all others', () => {
    const { reads: _, primary: __, lagMs: ___, ...older } = BEAT;
    expect(decodeBeat(encodeControl(older))).toMatchObject({
      lagMs: 0,
      reads: { weight: 1, isDrained: false },
    });
  });

  it.each([{ weight: -1 }, { weight: 'x' }, { weight: Infinity }, 7, null])(
    'does not take %j for how it serves reads',
    (reads) => {
      expect(decodeBeat(encodeControl({ ...BEAT, reads })).reads).toMatchObject({ weight: 1 });
    },
  );

  it.each([{ primary: 7 }, { primary: { epoch: 1 } }, { primary: { epoch: -1, id: 'b' } }, { lagMs: 'x' }])(
    'I15: with %j is none',
    (change) => {
      expect(() => decodeBeat(encodeControl({ ...BEAT, ...change }))).toThrow(/heartbeat cannot be read/);
    },
  );
});
