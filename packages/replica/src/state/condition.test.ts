import { AntiphonError, systemClock } from '@antiphon/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { Condition } from './condition.js';
import { silentLogger } from '../config/logger.js';

const drift = (gaps?: readonly string[]): AntiphonError =>
  new AntiphonError('SCHEMA_DRIFT', `table ${gaps?.join() ?? 'o'}`, { context: gaps ? { gaps } : {} });

let condition: Condition;
const names = (): readonly string[] => condition.alarms.map(({ name }) => name);
beforeEach(() => {
  condition = new Condition(() => 'peer', systemClock(), silentLogger);
  for (const event of ['agreed', 'installed', 'caught-up'] as const) condition.handle(event);
});

describe('a stall', () => {
  it('ends the alarms of all work that it stops, and no others', () => {
    for (const name of ['apply', 'publish', 'commit', 'in-sync', 'log', 'clock']) condition.alarm(name, name);
    condition.stall(drift(['t']));
    expect(names()).toEqual(['log', 'clock']);
    // An answer that was still under way.
    condition.alarm('publish', 'refused');
    expect(names()).toEqual(['log', 'clock']);
    condition.recover();
    condition.alarm('publish', 'refused');
    expect(names()).toContain('publish');
  });

  it('takes the place of a hold', () => {
    condition.stall(drift());
    expect(condition.state).toBe('holding');
    condition.stall(drift(['t']));
    expect([condition.state, condition.holding, names()]).toEqual(['stalled', undefined, []]);
  });

  it('names the tables that follow, and keeps its first reason otherwise', () => {
    condition.stall(drift(['t']));
    const { sinceMs } = condition.stalled!;
    condition.stall(drift(['t', 'u']));
    expect(condition.stalled).toMatchObject({ tables: ['t', 'u'], message: 'table t,u', sinceMs });
    condition.stall(new AntiphonError('LOG_REPLACED', 'another one'));
    expect(condition.stalled).toMatchObject({ code: 'SCHEMA_DRIFT' });
  });

  it('is over when what is left of it passes by itself', () => {
    condition.stall(drift(['t']));
    condition.recover(drift(['u']));
    expect(condition.stalled?.tables).toEqual(['u']);
    condition.recover(drift());
    expect([condition.state, condition.stalled]).toEqual(['holding', undefined]);
    condition.resume();
    expect(condition.state).toBe('catching-up');
  });

  it('becomes the end when what is left ends the replica', () => {
    condition.stall(drift(['t']));
    condition.recover(new AntiphonError('STORE_REPLACED', 'another file'));
    expect(condition.state).toBe('failed');
  });
});
