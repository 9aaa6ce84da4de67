import { readSubject, writeSubject } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import * as subjects from './subjects.js';

describe('subjects', () => {
  it('are the fixed names of the design', () => {
    expect(subjects.logSubject('shop', 'eu-1')).toBe('antiphon.shop.log.eu-1');
    expect(subjects.logSubject('shop', '_insync')).toBe('antiphon.shop.log._insync');
    expect(subjects.logSubjects('shop')).toBe('antiphon.shop.log.>');
    expect(subjects.identitySubject('shop')).toBe('antiphon.shop.log._log');
    expect(subjects.beatSubject('shop', 'eu-1')).toBe('antiphon.shop.beat.eu-1');
    expect(subjects.beatSubjects('shop')).toBe('antiphon.shop.beat.*');
    expect(subjects.replicaPrefix('shop', 'eu-1')).toBe('antiphon.shop.replica.eu-1');
    expect(subjects.replicaSubject('shop', 'eu-1', 'status')).toBe('antiphon.shop.replica.eu-1.status');
    expect(subjects.replicaSubjects('shop', 'eu-1')).toBe('antiphon.shop.replica.eu-1.*');
    expect(writeSubject('shop')).toBe('antiphon.shop.write');
    expect(readSubject('shop')).toBe('antiphon.shop.read');
    expect(subjects.streamName('shop')).toBe('ANTIPHON_shop');
    expect(subjects.leaseStream('shop')).toBe('ANTIPHON-LEASE_shop');
    expect(subjects.leaseSubject('shop')).toBe('antiphon.shop.lease');
    expect(subjects.durableName('eu-1')).toBe('replica_eu-1');
    expect(subjects.registryBucket('shop')).toBe('ANTIPHON_shop');
  });

  it('I15: take the names of own records where entries are published, and nowhere else', () => {
    const refused = expect.objectContaining({ code: 'BAD_OPTION' });
    for (const origin of ['_', '_log', '_In', '_a1', '_a-b', '__a', '_a\n', `_${'x'.repeat(31)}`]) {
      expect(() => subjects.logSubject('shop', origin)).toThrow(refused);
    }
    for (const origin of ['_insync', '_barrier', '_logs', `_${'x'.repeat(30)}`]) {
      expect(subjects.logSubject('shop', origin)).toBe(`antiphon.shop.log.${origin}`);
      expect(() => subjects.beatSubject('shop', origin)).toThrow(refused);
      expect(() => subjects.replicaPrefix('shop', origin)).toThrow(refused);
      expect(() => subjects.durableName(origin)).toThrow(refused);
    }
  });

  it.each(['', '_log', 'a.b', '*', '>', 'a b', 'a\n', 'x'.repeat(64)])(
    'I15: refuse %j as any part',
    (bad) => {
      const refused = expect.objectContaining({ code: 'BAD_OPTION' });
      expect(() => subjects.logSubject('shop', bad)).toThrow(refused);
      expect(() => subjects.logSubject(bad, 'eu-1')).toThrow(refused);
      expect(() => subjects.beatSubject('shop', bad)).toThrow(refused);
      expect(() => subjects.replicaSubject('shop', bad, 'status')).toThrow(refused);
      expect(() => subjects.replicaSubject('shop', 'eu-1', bad)).toThrow(refused);
      expect(() => subjects.durableName(bad)).toThrow(refused);
      expect(() => subjects.streamName(bad)).toThrow(refused);
    },
  );
});
