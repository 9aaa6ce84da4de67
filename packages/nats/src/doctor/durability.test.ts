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

  it.each([
    [{ storage: 'memory' }, 'memory'],
    [{ serverVersion: '2.9.10' }, 'periodic-fsync'],
    [{}, 'unknown'],
  ] as const)('says of a log that can lose entries (%j) that nobody sends them again', (facts, grade) => {
    const { sentence, ...rest } = gradeDurability({ ...plain, ...facts });
    expect(rest.grade).toBe(grade);
    expect(sentence).toContain('the log does not get them back');
    expect(sentence).toContain('replicas that had read them stop (LOG_REPLACED)');
    expect(sentence).toContain('docs/lost-log.md');
    expect(sentence).not.toMatch(/again/);
  });
});
