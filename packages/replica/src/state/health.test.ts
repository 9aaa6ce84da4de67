import { AntiphonError, systemClock } from '@antiphon/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { Health } from './health.js';
import { silentLogger } from '../config/logger.js';

const drift = (gaps?: readonly string[]): AntiphonError =>
  new AntiphonError('SCHEMA_DRIFT', `table ${gaps?.join() ?? 'o'}`, {
    context: gaps ? { uncaptured: gaps } : {},
  });

let health: Health;
let nowMs: number;
const names = (): readonly string[] => health.alarms.map(({ name }) => name);
beforeEach(() => {
  nowMs = 1000;
  health = new Health(() => 'peer', { ...systemClock(), nowMs: () => nowMs }, silentLogger);
  for (const event of ['agreed', 'installed', 'caught-up'] as const) health.handle(event);
});

describe('a hold', () => {
  const refused = { ...{ code: 'SCHEMA_DRIFT', origin: 'a', counter: 3, seq: 9 }, message: 'It has z.' };

  it('is one hold until it resumes, whoever notices what is in the way', () => {
    health.stall(drift());
    const { sinceMs } = health.holding!;
    for (let round = 0; round < 3; round++) {
      nowMs += 1000;
      health.hold(refused);
      health.stall(drift());
    }
    expect(health.holding).toEqual({ ...refused, sinceMs, attempts: 4 });
    health.hold({ ...refused, code: 'STORE_BUSY' });
    expect(health.holding).toMatchObject({ code: 'STORE_BUSY', sinceMs, attempts: 5 });
    health.resume();
    health.hold(refused);
    expect(health.holding).toMatchObject({ attempts: 1 });
    expect(health.holding!.sinceMs).toBeGreaterThan(sinceMs);
  });
});

describe('a stall', () => {
  it('ends the alarms of all work that it stops, and no others', () => {
    const all = ['apply', 'publish', 'commit', 'in-sync', 'log', 'clock'] as const;
    for (const name of all) health.alarm(name, name);
    health.stall(drift(['t']));
    expect(names()).toEqual(['log', 'clock']);
    // An answer that was still under way.
    health.alarm('publish', 'refused');
    expect(names()).toEqual(['log', 'clock']);
    health.recover();
    health.alarm('publish', 'refused');
    expect(names()).toContain('publish');
  });

  it('takes the place of a hold', () => {
    health.stall(drift());
    expect(health.state).toBe('holding');
    health.stall(drift(['t']));
    expect([health.state, health.holding, names()]).toEqual(['stalled', undefined, []]);
  });

  it('names the tables that follow, and keeps its first reason otherwise', () => {
    health.stall(drift(['t']));
    const { sinceMs } = health.stalled!;
    health.stall(drift(['t', 'u']));
    expect(health.stalled).toMatchObject({ tables: ['t', 'u'], message: 'table t,u', sinceMs });
    health.stall(new AntiphonError('LOG_REPLACED', 'another one'));
    expect(health.stalled).toMatchObject({ code: 'SCHEMA_DRIFT' });
  });

  it('is over when what is left of it passes by itself', () => {
    health.stall(drift(['t']));
    health.recover(drift(['u']));
    expect(health.stalled?.tables).toEqual(['u']);
    health.recover(drift());
    expect([health.state, health.stalled]).toEqual(['holding', undefined]);
    health.resume();
    expect(health.state).toBe('catching-up');
  });

  it('becomes the end when what is left ends the replica', () => {
    health.stall(drift(['t']));
    health.recover(new AntiphonError('STORE_REPLACED', 'another file'));
    expect(health.state).toBe('failed');
  });
});
