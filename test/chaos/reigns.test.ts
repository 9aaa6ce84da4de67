import type { OperationRecord } from '@antiphon/testing';
import { describe, expect, it } from 'vitest';
import { checkReigns, type ReignOperation, type Reigns } from './reigns.js';

let serial = 0;

interface When {
  readonly atMs: number;
  readonly epoch: number;
  readonly type?: 'ok' | 'failed' | 'unknown';
}

function operation(
  kind: 'read' | 'write',
  value: string | null,
  { atMs, epoch, type = 'ok' }: When,
): ReignOperation {
  const record: OperationRecord = {
    ...{ process: `p${serial++}`, id: 0, invokedAtMs: atMs },
    operation: kind === 'write' ? { kind, key: 'r', value } : { kind, key: 'r' },
    ...(type !== 'unknown' && { completedAtMs: atMs + 1 }),
    completion: type === 'ok' && kind === 'read' ? { type, value } : { type },
  };
  return { record, epochs: type === 'unknown' ? [epoch] : [epoch, epoch] };
}

/** `a` until epoch 1, `b` from epoch 2 on; `tail` was committed by `a` and undone. */
const CASE = {
  primaries: ['a', 'a', 'b'],
  written: new Set(['old', 'new']),
  rescued: [['tail', 1]],
} as const;
const OLD = operation('write', 'old', { atMs: 0, epoch: 0 });
const TAIL = operation('write', 'tail', { atMs: 10, epoch: 1 });
const NEW = operation('write', 'new', { atMs: 20, epoch: 2 });

function faults(operations: readonly ReignOperation[], changes: Partial<Reigns> = {}): readonly string[] {
  return checkReigns({ ...CASE, operations, ...changes }).faults;
}

describe('registers where the primary changes', () => {
  it('may show a tail until somebody else is the primary', () => {
    const history = [
      OLD,
      TAIL,
      operation('read', 'tail', { atMs: 12, epoch: 1 }),
      operation('read', 'old', { atMs: 18, epoch: 2 }),
      NEW,
      operation('read', 'new', { atMs: 22, epoch: 2 }),
    ];
    expect(checkReigns({ ...CASE, operations: history })).toEqual({
      ...{ faults: [], histories: 2, tailReads: 1 },
    });
  });

  it('show no tail in a later reign', () => {
    expect(faults([OLD, TAIL, operation('read', 'tail', { atMs: 18, epoch: 2 })])).toHaveLength(1);
  });

  it('show no tail once something of a later reign is done', () => {
    const late = operation('read', 'tail', { atMs: 25, epoch: 1 });
    expect(faults([OLD, TAIL, NEW, late]).join()).toMatch(/shows what had been undone/);
  });

  it('show the tail while it lasts, in the order in which it was acknowledged', () => {
    const stale = operation('read', 'old', { atMs: 12, epoch: 1 });
    expect(faults([OLD, TAIL, stale, NEW]).join()).toMatch(/In reign 0 of 1/);
  });

  it('are not shown as they were by who was the primary', () => {
    const stale = operation('read', 'old', { atMs: 25, epoch: 1 });
    expect(faults([OLD, NEW, stale]).join()).toMatch(/In reign 1 of 1/);
  });

  it('hold what was acknowledged, or a ledger does, and nothing that failed', () => {
    expect(faults([OLD, NEW, TAIL], { rescued: [] }).join()).toMatch(/neither in the log nor in a ledger/);
    const failed = operation('write', 'new', { atMs: 20, epoch: 2, type: 'failed' });
    expect(faults([OLD, failed]).join()).toMatch(/failed for certain, and is in the log/);
  });

  it('may have in a tail what is sent again to the next primary', () => {
    const sent = { ...operation('write', 'new', { atMs: 10, epoch: 1 }), epochs: [1, 2] };
    const again = { ...sent, record: { ...sent.record, completedAtMs: 30 } };
    const history = [
      OLD,
      again,
      operation('read', 'new', { atMs: 12, epoch: 1 }),
      operation('read', 'old', { atMs: 18, epoch: 2 }),
      operation('read', 'new', { atMs: 25, epoch: 2 }),
    ];
    expect(faults(history, { rescued: [['new', 1]] })).toEqual([]);
  });

  it('never show what was not written in the end', () => {
    const never = operation('write', 'never', { atMs: 10, epoch: 1, type: 'unknown' });
    expect(faults([OLD, never])).toEqual([]);
    const shown = operation('read', 'never', { atMs: 12, epoch: 1 });
    expect(faults([OLD, never, shown]).join()).toMatch(/In reign 1 of 1/);
  });
});
