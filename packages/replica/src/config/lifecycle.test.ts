import { describe, expect, it } from 'vitest';
import { nextState } from './lifecycle.js';

describe('lifecycle', () => {
  it('goes from joining to following, or to primary for the primary', () => {
    expect(nextState('joining', 'agreed', 'peer')).toBe('bootstrapping');
    expect(nextState('bootstrapping', 'installed', 'peer')).toBe('catching-up');
    expect(nextState('catching-up', 'caught-up', 'peer')).toBe('following');
    expect(nextState('catching-up', 'caught-up', 'primary')).toBe('primary');
    expect(nextState('following', 'fell-behind', 'replica')).toBe('catching-up');
  });

  it('goes on from a hold by itself, by way of catching up', () => {
    for (const state of ['catching-up', 'following', 'primary'] as const)
      expect(nextState(state, 'hold', 'peer')).toBe('holding');
    expect(nextState('holding', 'caught-up', 'peer')).toBe('holding');
    expect(nextState('holding', 'resume', 'peer')).toBe('catching-up');
    expect(nextState('following', 'resume', 'peer')).toBe('following');
    expect(nextState('holding', 'stall', 'peer')).toBe('stalled');
    expect(nextState('stalled', 'hold', 'peer')).toBe('stalled');
    expect(nextState('primary', 'fell-behind', 'primary')).toBe('catching-up');
  });

  it('leaves a stall only by failing or closing, or when its cause is done away with', () => {
    expect(nextState('stalled', 'recover', 'primary')).toBe('catching-up');
    expect(nextState('following', 'recover', 'peer')).toBe('following');
    expect(nextState('stalled', 'caught-up', 'peer')).toBe('stalled');
    expect(nextState('stalled', 'stall', 'peer')).toBe('stalled');
    expect(nextState('stalled', 'close', 'peer')).toBe('closing');
    expect(nextState('closing', 'stall', 'peer')).toBe('closing');
    expect(nextState('closed', 'fail', 'peer')).toBe('closed');
  });
});
