import { describe, expect, it } from 'vitest';
import { isVersionAtLeast, parseServerVersion } from './server-version.js';

describe('server version', () => {
  it('is read from what servers print', () => {
    expect(parseServerVersion('nats-server: v2.9.10\n')).toBe('2.9.10');
    expect(parseServerVersion('nats-server: v2.12.5-RC.1')).toBe('2.12.5-RC.1');
    expect(parseServerVersion('no version here')).toBeUndefined();
  });

  it('is compared by number, not by text', () => {
    expect(isVersionAtLeast('2.10.0', '2.9.10')).toBe(true);
    expect(isVersionAtLeast('2.9.10', '2.10.0')).toBe(false);
    expect(isVersionAtLeast('2.9.10', '2.9.10')).toBe(true);
    expect(isVersionAtLeast('3.0.0', '2.99.99')).toBe(true);
    expect(isVersionAtLeast('2.10.27', '2.10.3')).toBe(true);
    expect(isVersionAtLeast('nonsense', '2.9.0')).toBe(false);
  });
});
