import { describe, expect, it } from 'vitest';
import { gradeDurability, type DurabilityFacts } from './durability.js';

const plain: DurabilityFacts = {
  serverVersion: '2.11.4',
  storage: 'file',
  replicas: 1,
  syncsAlways: undefined,
};

describe('gradeDurability', () => {
  it.each([
    [{ storage: 'memory', replicas: 3 }, 'memory'],
    [{ serverVersion: '2.9.10' }, 'periodic-fsync'],
    [{}, 'unknown'],
    [{ syncsAlways: false }, 'periodic-fsync'],
    [{ syncsAlways: true }, 'fsync'],
    [{ replicas: 3 }, 'replicated'],
    [{ replicas: 3, syncsAlways: true }, 'fsync'],
  ] as const)('grades %j as %s', (facts, grade) => {
    const durability = gradeDurability({ ...plain, ...facts });
    expect(durability.grade).toBe(grade);
    expect(durability.sentence).toMatch(/\.$/);
  });
});
