import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Random } from '../clock/random.js';
import { checkLinearizable } from './linearizable.js';
import type { OperationRecord, RegisterValue } from './operation.js';
import { registerHistory } from './register-history.js';
import { smallestFailure } from './smallest-failure.js';

/** Every order is tried, without memory or shortcuts. For a handful of operations. */
function hasOrder(records: readonly OperationRecord[], value: RegisterValue): boolean {
  const isOver = (record: OperationRecord): boolean => record.completion.type === 'unknown';
  if (records.every(isOver)) return true;
  return records.some((record, index) => {
    const { operation, completion } = record;
    const left = records.filter((_, other) => other !== index);
    if (left.some(({ completedAtMs }) => completedAtMs !== undefined && completedAtMs < record.invokedAtMs))
      return false;
    if (completion.type === 'failed') return hasOrder(left, value);
    if (operation.kind === 'read') {
      const fits = completion.type === 'unknown' || completion.value === value;
      return fits && hasOrder(left, value);
    }
    if (operation.kind === 'write') return hasOrder(left, operation.value);
    if (value !== null && typeof value !== 'number') return false;
    const sum = (value ?? 0) + operation.by;
    const result = completion.type === 'ok' ? completion.value : undefined;
    return (result === undefined || result === sum) && hasOrder(left, sum);
  });
}

function isLinearizableByForce(records: readonly OperationRecord[]): boolean {
  return hasOrder(
    records.filter(({ completion }) => completion.type !== 'failed'),
    null,
  );
}

interface SimulationOptions {
  readonly random: Random;
  readonly operations: number;
  readonly processes: number;
  readonly keys: number;
  readonly increments?: boolean;
  readonly distinctValues?: number;
  readonly unknownRate?: number;
}

/**
 * What clients record of registers that are atomic: each operation takes effect at one instant
 * between its beginning and its end; an unknown one at some instant, however late, or never.
 */
function simulate({ random, operations, processes, keys, ...options }: SimulationOptions): OperationRecord[] {
  const { increments = false, distinctValues = Infinity, unknownRate = 0.02 } = options;
  const free = Array.from({ length: processes }, () => random.next());
  const planned: { at: number; take: (register: Map<string, RegisterValue>) => void }[] = [];
  const records: OperationRecord[] = [];
  for (let id = 0; id < operations; id++) {
    const client = id % processes;
    const invokedAtMs = (free[client] ?? 0) + random.next() * (random.chance(0.1) ? 20 : 0.5);
    const effectAtMs = invokedAtMs + random.next() * (random.chance(0.05) ? 30 : 1);
    const completedAtMs = effectAtMs + random.next();
    free[client] = completedAtMs;
    const key = `k${random.int(0, keys - 1)}`;
    const chosen = random.next();
    const value = distinctValues === Infinity ? id : random.int(1, distinctValues);
    const started = { process: `p${client}`, id, invokedAtMs };
    const isUnknown = random.chance(unknownRate);
    const at = isUnknown ? effectAtMs + (random.chance(0.3) ? 50 : 0) : effectAtMs;
    const isLost = isUnknown && random.chance(0.5);
    if (random.chance(0.02)) {
      const operation = { kind: 'write', key, value: -id } as const;
      records.push({ ...started, operation, completedAtMs, completion: { type: 'failed' } });
      continue;
    }
    planned.push({
      at,
      take: (registers) => {
        const before = registers.get(key) ?? null;
        const operation =
          chosen < 0.5
            ? ({ kind: 'read', key } as const)
            : increments && chosen < 0.75
              ? ({ kind: 'increment', key, by: 1 } as const)
              : ({ kind: 'write', key, value: chosen > 0.95 ? null : value } as const);
        const after =
          operation.kind === 'read'
            ? before
            : operation.kind === 'write'
              ? operation.value
              : Number(before ?? 0) + 1;
        if (!isLost) registers.set(key, after);
        if (isUnknown) records.push({ ...started, operation, completion: { type: 'unknown' } });
        else if (operation.kind === 'write')
          records.push({ ...started, operation, completedAtMs, completion: { type: 'ok' } });
        else records.push({ ...started, operation, completedAtMs, completion: { type: 'ok', value: after } });
      },
    });
  }
  const registers = new Map<string, RegisterValue>();
  for (const { take } of planned.sort((one, other) => one.at - other.at)) take(registers);
  return records;
}

/** Small histories of anything, mostly impossible ones; whole-number times, so that many touch. */
function anyHistory(withIncrements: boolean, areValuesUnique: boolean): fc.Arbitrary<OperationRecord[]> {
  const value = fc.constantFrom<RegisterValue>(null, 1, 2, 3);
  const one = fc.record({
    kind: fc.constantFrom('read', 'read', 'write', withIncrements ? 'increment' : 'write'),
    value,
    invokedAtMs: fc.integer({ min: 0, max: 12 }),
    durationMs: fc.integer({ min: 0, max: 6 }),
    type: fc.constantFrom('ok', 'ok', 'ok', 'ok', 'unknown', 'failed'),
    tellsResult: fc.boolean(),
  });
  return fc.array(one, { maxLength: 7 }).map((all) => {
    let writes = 0;
    return all.map(({ kind, value, invokedAtMs, durationMs, type, tellsResult }, id): OperationRecord => {
      const operation =
        kind === 'read'
          ? ({ kind: 'read', key: 'x' } as const)
          : kind === 'write'
            ? ({ kind: 'write', key: 'x', value: areValuesUnique ? ++writes : value } as const)
            : ({ kind: 'increment', key: 'x', by: 1 } as const);
      const started = { process: `p${id}`, id, operation, invokedAtMs };
      if (type === 'unknown') return { ...started, completion: { type } };
      const completedAtMs = invokedAtMs + durationMs;
      if (type === 'failed') return { ...started, completedAtMs, completion: { type } };
      if (operation.kind === 'read') return { ...started, completedAtMs, completion: { type: 'ok', value } };
      if (operation.kind === 'increment' && tellsResult) {
        return { ...started, completedAtMs, completion: { type: 'ok', value: Number(value) } };
      }
      return { ...started, completedAtMs, completion: { type: 'ok' } };
    });
  });
}

const seed = fc.integer({ min: 0, max: 2 ** 31 - 1 });

/** The value of one read replaced. */
function corrupted(
  records: readonly OperationRecord[],
  random: Random,
  value: RegisterValue,
): OperationRecord[] {
  const reads = records.filter(
    ({ operation, completion }) => operation.kind === 'read' && completion.type === 'ok',
  );
  if (reads.length === 0) return [...records];
  const victim = random.pick(reads);
  return records.map((record) =>
    record === victim ? { ...record, completion: { type: 'ok', value } } : record,
  );
}

describe('against every order by force', () => {
  test.each([
    ['any values', false, false],
    ['unique values', false, true],
    ['increments', true, false],
  ])('random small histories, %s', (_title, withIncrements, areValuesUnique) => {
    let accepted = 0;
    let rejected = 0;
    fc.assert(
      fc.property(anyHistory(withIncrements, areValuesUnique), (records) => {
        const expected = isLinearizableByForce(records);
        const result = checkLinearizable(records);
        expect(result.linearizable).toBe(expected);
        if (expected) accepted++;
        else rejected++;
        if (result.linearizable === false) expect(isLinearizableByForce(result.operations)).toBe(false);
      }),
      { numRuns: 4000 },
    );
    expect(Math.min(accepted, rejected)).toBeGreaterThan(400);
  });

  test.each([
    ['unique values', { increments: false }],
    ['few values', { increments: false, distinctValues: 2 }],
    ['increments', { increments: true, distinctValues: 2 }],
  ])('small simulated histories with a read replaced, %s', (_title, options) => {
    let rejected = 0;
    fc.assert(
      fc.property(seed, fc.constantFrom<RegisterValue>(null, 0, 1, 2, 3, 4, 5), (number, value) => {
        const random = new Random(number);
        const right = simulate({
          random,
          operations: 7,
          processes: 3,
          keys: 1,
          unknownRate: 0.2,
          ...options,
        });
        expect(checkLinearizable(right).linearizable).toBe(true);
        const records = corrupted(right, random, value);
        const expected = isLinearizableByForce(records);
        if (!expected) rejected++;
        expect(checkLinearizable(records).linearizable).toBe(expected);
      }),
      { numRuns: 3000 },
    );
    expect(rejected).toBeGreaterThan(500);
  });

  test('the failure is the first one, its core contradicts itself, and what could have been read is exact', () => {
    let failures = 0;
    fc.assert(
      fc.property(anyHistory(false, false), (records) => {
        if (isLinearizableByForce(records)) return;
        failures++;
        const history = registerHistory(records, { initialValue: null, clockErrorMs: 0 });
        const { culprit, completedCount, core, possibleValues } = smallestFailure(history, {
          states: 100_000,
        });
        const completed = history.steps
          .filter(({ completedAtMs }) => completedAtMs !== Infinity)
          .sort((one, other) => one.completedAtMs - other.completedAtMs)
          .map(({ record }) => record);
        const endMs = culprit.completedAtMs;
        const beginning = (count: number): OperationRecord[] => {
          const known = new Set(completed.slice(0, count));
          return records
            .filter((record) => record.invokedAtMs <= endMs && record.completion.type !== 'failed')
            .map(({ completedAtMs, ...record }) =>
              completedAtMs !== undefined && known.has(records[record.id]!)
                ? { ...record, completedAtMs }
                : { ...record, completion: { type: 'unknown' } },
            );
        };
        expect(isLinearizableByForce(beginning(completedCount - 1))).toBe(true);
        expect(isLinearizableByForce(beginning(completedCount))).toBe(false);
        expect(core).toContain(culprit);
        const right = [null, 1, 2, 3, 4].filter((value) =>
          isLinearizableByForce(
            beginning(completedCount).map((record) =>
              record.id === culprit.record.id ? { ...record, completion: { type: 'ok', value } } : record,
            ),
          ),
        );
        expect(new Set(possibleValues)).toEqual(new Set(right));
      }),
      { numRuns: 2000 },
    );
    expect(failures).toBeGreaterThan(400);
  });
});

describe('long histories', () => {
  test('atomic registers are always accepted', () => {
    fc.assert(
      fc.property(seed, fc.integer({ min: 1, max: 12 }), fc.boolean(), (number, processes, increments) => {
        const options = increments
          ? { increments, distinctValues: 3 }
          : { distinctValues: number % 2 === 0 ? 5 : Infinity };
        const records = simulate({
          random: new Random(number),
          operations: 150,
          processes,
          keys: 3,
          ...options,
        });
        expect(checkLinearizable(records)).toEqual({ linearizable: true });
      }),
      { numRuns: 150 },
    );
  });

  test('20,000 operations of 10 processes on 20 keys take a second or so, right or wrong', () => {
    const random = new Random(7);
    const records = simulate({ random, operations: 20_000, processes: 10, keys: 20 });
    expect(checkLinearizable(records)).toEqual({ linearizable: true });
    expect(checkLinearizable(corrupted(records, random, 1))).toMatchObject({ linearizable: false });
  });

  test('one key that all write is decided too', () => {
    const random = new Random(8);
    const records = simulate({ random, operations: 3_000, processes: 10, keys: 1 });
    expect(checkLinearizable(records)).toEqual({ linearizable: true });
    expect(checkLinearizable(corrupted(records, random, 1))).toMatchObject({ linearizable: false });
  });
});
