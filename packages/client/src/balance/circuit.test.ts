import { describe, expect, it } from 'vitest';
import { afterRead, beforeRead, CLOSED, FAILURES_TO_OPEN, phaseAt, type Circuit } from './circuit.js';

function failing(times: number, nowMs = 0): Circuit {
  let circuit = CLOSED;
  for (let n = 0; n < times; n++) circuit = afterRead(circuit, 'failed', nowMs);
  return circuit;
}

describe('the circuit of a replica', () => {
  it('stays closed for some failures, and forgets them with an answer', () => {
    const circuit = failing(FAILURES_TO_OPEN - 1);
    expect(phaseAt(circuit, 0)).toBe('closed');
    expect(phaseAt(afterRead(afterRead(circuit, 'answered', 0), 'failed', 0), 0)).toBe('closed');
  });

  it('opens after failures in a row, and at once when nobody listens', () => {
    expect(phaseAt(failing(FAILURES_TO_OPEN), 0)).toBe('open');
    expect(phaseAt(afterRead(CLOSED, 'gone', 0), 0)).toBe('open');
  });

  it('lets one probe through when its time is up, and another one when that is not answered', () => {
    const open = failing(FAILURES_TO_OPEN);
    const dueMs = open.untilMs;
    expect(phaseAt(open, dueMs - 1)).toBe('open');
    expect(phaseAt(open, dueMs)).toBe('half-open');
    const probed = beforeRead(open, dueMs);
    expect(phaseAt(probed, dueMs)).toBe('open');
    expect(phaseAt(probed, probed.probeUntilMs)).toBe('half-open');
  });

  it('closes with the probe that is answered, and waits longer after one that is not', () => {
    const open = failing(FAILURES_TO_OPEN);
    const probed = beforeRead(open, open.untilMs);
    expect(phaseAt(afterRead(probed, 'answered', open.untilMs), open.untilMs)).toBe('closed');
    const again = afterRead(probed, 'failed', open.untilMs);
    expect(again.untilMs - open.untilMs).toBeGreaterThan(open.untilMs);
  });

  it('is not kept open by reads that were under way when it opened', () => {
    const open = failing(FAILURES_TO_OPEN);
    expect(afterRead(open, 'failed', open.untilMs - 1)).toEqual(open);
  });

  it('is tried at least every ten seconds, however often it failed', () => {
    let circuit = CLOSED;
    let nowMs = 0;
    for (let n = 0; n < 60; n++) {
      circuit = afterRead(circuit, 'gone', nowMs);
      expect(circuit.untilMs - nowMs).toBeLessThanOrEqual(10_000);
      nowMs = circuit.untilMs;
      circuit = beforeRead(circuit, nowMs);
    }
  });
});
