import { describe, expect, it } from 'vitest';
import { ackPrefix, ackSubject, readDelivery } from './delivery.js';

const short = '$JS.ACK.ANTIPHON_shop.replica_a.1.42.7.1795434405575532768.3';
const long = '$JS.ACK.hub.hash.ANTIPHON_shop.replica_a.1.42.7.1795434405575532768.3.random';

describe('the reply subject of a delivered message', () => {
  it.each([short, long])('is read: %s', (reply) => {
    const prefix = ackPrefix(reply) ?? '';
    expect(prefix.endsWith('ANTIPHON_shop.replica_a.')).toBe(true);
    expect(readDelivery(reply, prefix)).toEqual({ seq: 42, consumerSeq: 7, storedAtMs: 1795434405575.532 });
  });

  it('is answered in the same form', () => {
    expect(ackSubject(ackPrefix(short) ?? '', 50, 15)).toBe('$JS.ACK.ANTIPHON_shop.replica_a.1.50.15.0.0');
    expect(ackSubject(ackPrefix(long) ?? '', 50, 15).split('.')).toHaveLength(long.split('.').length);
  });

  it.each(['', '_INBOX.x', '$JS.ACK.a.b.1.2.3', 'x.y.z.a.b.1.2.3.4', short.replace('$JS', 'JS')])(
    'I15: is not taken for one: %j',
    (reply) => {
      expect(ackPrefix(reply)).toBeUndefined();
    },
  );

  it.each([
    '1',
    '1.2',
    '1.2.3',
    '1.x.7.1795434405575532768.3',
    '1.42..1795434405575532768.3',
    '1.99999999999999999999.7.1795434405575532768.3',
    '1.-4.7.1795434405575532768.3',
  ])('I15: is refused with the numbers %j', (numbers) => {
    const prefix = '$JS.ACK.s.c.';
    expect(readDelivery(prefix + numbers, prefix)).toBeUndefined();
  });
});
