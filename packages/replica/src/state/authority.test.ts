import { type Epoch, firstEpoch, primaryReplicaOf } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { LogAuthority, roleOf, type Mandate } from './authority.js';

function authorityOf(byTerm: boolean, id = 'a'): { authority: LogAuthority; enter: (epoch: Epoch) => void } {
  const authority = new LogAuthority({ id, instance: 'i1', topology: primaryReplicaOf('a'), byTerm });
  let epoch = firstEpoch('a');
  authority.follow(() => epoch);
  const enter = (next: Epoch): void => {
    epoch = next;
    authority.changed();
  };
  return { authority, enter };
}

describe('who may write', () => {
  it('is everybody where several write', () => {
    const topology = { mode: 'multi-primary' } as const;
    const authority = new LogAuthority({ id: 'a', instance: 'i1', topology, byTerm: false });
    expect(authority.current()).toEqual({ epoch: 0, role: 'peer', primary: undefined, mayWrite: true });
  });

  it('is whom the document names, where there are no terms', () => {
    expect(authorityOf(false).authority.current()).toMatchObject({ role: 'primary', mayWrite: true });
    expect(authorityOf(false, 'b').authority.current()).toMatchObject({ role: 'replica', mayWrite: false });
  });

  it('I7, I9: is the primary only in an epoch of its own process', () => {
    const { authority, enter } = authorityOf(true);
    const told: Mandate[] = [];
    const stop = authority.onChange((mandate) => told.push(mandate));
    expect(authority.current(), 'before its record').toMatchObject({ role: 'replica', mayWrite: false });
    enter({ number: 1, primary: 'a', instance: 'i0', seq: 5 });
    expect(authority.current(), 'an earlier process').toMatchObject({ role: 'replica', primary: 'a' });
    enter({ number: 2, primary: 'a', instance: 'i1', seq: 6 });
    expect(authority.current()).toEqual({ epoch: 2, role: 'primary', primary: 'a', mayWrite: true });
    enter({ number: 3, primary: 'b', instance: 'i9', seq: 8 });
    expect(authority.current()).toEqual({ epoch: 3, role: 'replica', primary: 'b', mayWrite: false });
    expect(told.map(({ epoch, role }) => `${epoch} ${role}`)).toEqual([
      '1 replica',
      '2 primary',
      '3 replica',
    ]);
    stop();
    enter({ number: 4, primary: 'a', instance: 'i1', seq: 9 });
    expect(told).toHaveLength(3);
    expect(authority.current().mayWrite).toBe(true);
  });

  it('I9: is not taken for the primary once the log has another one, although it still is', () => {
    const { authority, enter } = authorityOf(true);
    let told = 0;
    authority.onChange(() => told++);
    enter({ number: 1, primary: 'a', instance: 'i1', seq: 5 });
    const successor = { number: 2, primary: 'b', instance: 'i9', seq: 8 };
    authority.deposed(successor);
    authority.deposed({ ...successor });
    expect(told).toBe(2);
    expect(roleOf(authority)).toBe('replica');
    expect(authority.successor).toBe(successor);
    expect(authority.current()).toMatchObject({ epoch: 1, role: 'primary' });
    enter(successor);
    expect(authority.successor).toBeUndefined();
    enter({ number: 3, primary: 'a', instance: 'i1', seq: 9 });
    expect(roleOf(authority)).toBe('primary');
  });
});
