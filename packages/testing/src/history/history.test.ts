import { describe, expect, test } from 'vitest';
import { History } from './history.js';
import { formatHistory, formatRecord, mergeHistories, parseHistory } from './json-lines.js';
import { checkLinearizable } from './linearizable.js';
import type { OperationRecord } from './operation.js';

/** A clock that goes on by one at every look. */
function ticking(start = 0): { readonly now: () => number } {
  let time = start;
  return { now: () => time++ };
}

describe('recording', () => {
  test('operations carry their process, number, times and completion', () => {
    const history = new History(ticking());
    const write = history.invoke('a', { kind: 'write', key: 'x', value: 1 });
    const read = history.invoke('b', { kind: 'read', key: 'x' });
    history.complete(read, { type: 'ok', value: null, version: 0 });
    history.complete(write, { type: 'failed' });
    history.invoke('a', { kind: 'read', key: 'x' });
    expect(history.records()).toEqual([
      {
        process: 'a',
        id: 0,
        operation: { kind: 'write', key: 'x', value: 1 },
        invokedAtMs: 0,
        completedAtMs: 3,
        completion: { type: 'failed' },
      },
      {
        process: 'b',
        id: 0,
        operation: { kind: 'read', key: 'x' },
        invokedAtMs: 1,
        completedAtMs: 2,
        completion: { type: 'ok', value: null, version: 0 },
      },
      {
        process: 'a',
        id: 1,
        operation: { kind: 'read', key: 'x' },
        invokedAtMs: 4,
        completion: { type: 'unknown' },
      },
    ]);
  });

  test('unknown has no end, and can still be resolved', () => {
    const history = new History(ticking());
    const handle = history.invoke('a', { kind: 'write', key: 'x', value: 1 });
    expect(history.complete(handle, { type: 'unknown' })).not.toHaveProperty('completedAtMs');
    history.complete(handle, { type: 'ok' });
    expect(history.record(handle).completion).toEqual({ type: 'ok' });
  });

  test('what cannot be is refused with what to do', () => {
    const history = new History(ticking());
    const handle = history.invoke('a', { kind: 'read', key: 'x' });
    expect(() => history.complete(handle, { type: 'ok' })).toThrow(
      'a read that is ok has a completion.value',
    );
    history.complete(handle, { type: 'ok', value: 1 });
    expect(() => history.complete(handle, { type: 'failed' })).toThrow('completed before');
    expect(() => new History(ticking()).complete(handle, { type: 'failed' })).toThrow('did not invoke a#0');
    expect(() => history.invoke('a', { kind: 'write', key: 'x', value: NaN })).toThrow('operation.value');
  });
});

describe('JSON lines', () => {
  const history = new History(ticking());
  history.complete(history.invoke('a', { kind: 'write', key: 'x', value: 'é\n' }), {
    type: 'ok',
    version: 3,
  });
  history.complete(history.invoke('a', { kind: 'increment', key: 'n', by: -2 }), { type: 'ok', value: -2 });
  history.complete(history.invoke('a', { kind: 'read', key: 'x' }), { type: 'ok', value: 'é\n', version: 3 });
  history.invoke('a', { kind: 'write', key: 'x', value: null });
  const records = history.records();

  test('come back as they were, one operation a line', () => {
    const text = formatHistory(records);
    expect(text.split('\n')).toHaveLength(records.length + 1);
    expect(parseHistory(text)).toEqual(records);
  });

  test('of several processes are merged in the order of invocation', () => {
    const other = new History(ticking(0.5));
    other.complete(other.invoke('b', { kind: 'read', key: 'x' }), { type: 'ok', value: null });
    const both = parseHistory(formatHistory(other.records()) + formatHistory(records));
    expect(both.map(({ invokedAtMs }) => invokedAtMs)).toEqual([0, 0.5, 2, 4, 6]);
    expect(mergeHistories([other.records(), records])).toEqual(both);
  });

  test('a line written at the invocation is replaced by the one written at the end', () => {
    const writer = new History(ticking());
    const handle = writer.invoke('a', { kind: 'write', key: 'x', value: 1 });
    const begun = formatRecord(writer.record(handle));
    const ended = formatRecord(writer.complete(handle, { type: 'ok' }));
    expect(parseHistory(`${begun}\n${ended}\n`)).toEqual(writer.records());
    expect(parseHistory(`${ended}\n${begun}\n`)).toEqual(writer.records());
  });

  test('the line that a kill cut off leaves the operation unknown', () => {
    const writer = new History(ticking());
    const handle = writer.invoke('a', { kind: 'write', key: 'x', value: 1 });
    const begun = formatRecord(writer.record(handle));
    const ended = formatRecord(writer.complete(handle, { type: 'ok' }));
    const parsed = parseHistory(`${begun}\n${ended.slice(0, -5)}`);
    expect(parsed.map(({ completion }) => completion.type)).toEqual(['unknown']);
    expect(checkLinearizable(parsed).linearizable).toBe(true);
  });

  test('bad lines are refused by number', () => {
    expect(() => parseHistory('{"process":"a"}\n')).toThrow(
      'Line 1: Not an operation of a history: id must be',
    );
    expect(() => parseHistory('nonsense\n')).toThrow('Line 1 is not JSON');
    expect(() => parseHistory('7\n')).toThrow('the record must be an object');
  });

  test('two processes with one name are noticed', () => {
    const [first] = records;
    const other: OperationRecord = { ...first!, operation: { kind: 'write', key: 'x', value: 2 } };
    expect(() => mergeHistories([records, [other]])).toThrow('Give every process a name of its own');
    const { completedAtMs: _, ...begun } = other;
    expect(() => mergeHistories([records, [{ ...begun, completion: { type: 'unknown' } }]])).toThrow('a#0');
  });
});
