import type { Alarm, ReplicaStatus, SyncStatus } from '@antiphon/replica';
import { alarmSection, AntiphonError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import type { MemberAnswer } from '@antiphon/client';
import { statusText } from './status-text.js';

const ASYNC = {
  ...{ id: 'eu-1', role: 'peer', lifecycle: 'following', connection: 'connected' },
  ...{ topology: { mode: 'multi-primary' }, update: { mode: 'async' }, position: { text: '0a1b2c3d/7' } },
  ...{ lag: { entries: 0, seconds: 0 }, outbox: { unpublished: 0 }, conflicts: 0, quarantined: 0 },
  ...{ alarms: [], waitingFor: [], subscriptions: [], startedAtMs: 0, nowMs: 5000 },
} as unknown as ReplicaStatus;

const SETTINGS = {
  mode: 'sync',
  acks: 'all',
  minInSync: 2,
  onShortfall: 'reject',
  foreignWrites: 'refuse',
} as const;

function member(id: string, sync: Partial<SyncStatus>): MemberAnswer {
  const whole: SyncStatus = {
    ...SETTINGS,
    inSync: ['eu-1', 'eu-2'],
    known: ['eu-1', 'eu-2'],
    needed: 2,
    recordSeq: 5,
    degraded: false,
    waiting: 1,
    inFlight: 2,
    unacknowledged: 3,
    durableSeq: 5,
    counts: {},
    ...sync,
  };
  return { id, status: { ...ASYNC, id, update: SETTINGS, sync: whole } };
}

const text = (...answers: MemberAnswer[]): string =>
  statusText({
    cluster: 'shop',
    servers: 'nats://x',
    answers,
    terminal: { color: false, interactive: false, columns: 80 },
  });

const alarm = (name: string, message: string): Alarm => {
  return { name, message, section: alarmSection(name), sinceMs: 1, count: 1 };
};

describe('statusText', () => {
  it('of an asynchronous cluster has no columns of the other mode', () => {
    const shown = text({ id: 'eu-1', status: ASYNC });
    expect(shown).toMatch(/^cluster shop \(multi-primary, async\) at nats:\/\/x\n/);
    expect(shown).not.toContain('in sync');
  });

  it('says once what several replicas are alarmed about alike', () => {
    const alarmed = (id: string, ...messages: readonly string[]): MemberAnswer => {
      const alarms = messages.map((message, n) => alarm(`of ${n}`, message));
      return { id, status: { ...ASYNC, id, alarms } };
    };
    const shown = text(alarmed('eu-1', 'Look.'), alarmed('eu-2', 'Its own.', 'Look.'));
    expect(shown.split('\n').filter((line) => line.startsWith('!'))).toEqual([
      '! eu-1, eu-2: Look.',
      '! eu-2: Its own.',
    ]);
  });

  it('shows a primary that is inside of a long write as that, and not as one that has gone', () => {
    const members = [{ id: 'eu-1', silentMs: 23_000, writingMs: 22_100 }];
    const alarms = [alarm('long-write', 'Said by followers.')];
    const follower = { ...ASYNC, members, alarms } as unknown as ReplicaStatus;
    const error = new AntiphonError('TIMEOUT', 'No answer.');
    const shown = text(
      { id: 'eu-1', error },
      ...['eu-2', 'eu-3'].map((id) => ({ id, status: { ...follower, id } })),
    );
    expect(shown).toMatch(/\neu-1 +primary +in a long write/);
    expect(shown.split('\n').filter((line) => line.startsWith('!'))).toEqual([
      expect.stringMatching(/^! The primary eu-1 has been inside of one write for 23 s\./),
    ]);
    expect(text({ id: 'eu-1', error }, { id: 'eu-2', status: ASYNC })).toMatch(/\neu-1 +no answer/);
  });

  it('says where subscriptions are active, once for each', () => {
    const with_ = (id: string, ...subscriptions: readonly object[]): MemberAnswer =>
      ({ id, status: { ...ASYNC, id, subscriptions } }) as MemberAnswer;
    const shown = text(
      with_('eu-1', { name: 'mailer', state: 'standby' }, { name: 'search', state: 'standby' }),
      with_('eu-2', { name: 'mailer', state: 'active', epoch: 3, lagEntries: 7 }),
    );
    expect(shown).toContain('\n  subscription mailer: active on eu-2, lag 7; standby on eu-1\n');
    expect(shown).toContain('\n  subscription search: active nowhere; standby on eu-1\n');
    const waitsFor = 'transaction eu-3:7, which the log does not hold. Start eu-3.';
    expect(text(with_('eu-1', { name: 'mailer', state: 'standby', waitsFor }))).toContain(
      `\n  subscription mailer: active nowhere; standby on eu-1; eu-1 waits for ${waitsFor}\n`,
    );
  });

  it('says once, and loudly, what a replica holds', () => {
    const message = 'This database does not take transaction a:7 of the log';
    const holding = { code: 'APPLY_REFUSED', seq: 12, message, sinceMs: 1, attempts: 3 };
    const alarms = [alarm('apply', message)];
    const shown = text({ id: 'eu-1', status: { ...ASYNC, lifecycle: 'holding', holding, alarms } });
    expect(shown.split('\n').filter((line) => line.includes(message))).toEqual([`! eu-1 holds: ${message}`]);
    expect(shown).toMatch(/^eu-1 .* holding /m);
  });

  it('ends with what `antiphon explain` knows about it, each name once, and with nothing where all is well', () => {
    const clocks = [alarm('clock eu-2', 'Late.'), alarm('not replicated', 'Here only.')];
    const stalled = { code: 'LOG_REPLACED', message: 'It was cut.', sinceMs: 1 } as const;
    const shown = text(
      { id: 'eu-1', error: new AntiphonError('NO_ACTOR', 'Nobody.') },
      { id: 'eu-2', status: { ...ASYNC, alarms: clocks, quarantined: 2 } },
      {
        id: 'eu-3',
        status: { ...ASYNC, lifecycle: 'stalled', stalled, connection: 'disconnected', quarantined: 1 },
      },
    );
    expect(shown.trimEnd().split('\n').at(-1)).toBe(
      '  what to do: antiphon explain away quarantined clock not-replicated stalled LOG_REPLACED no-nats',
    );
    expect(text({ id: 'eu-1', status: ASYNC })).not.toContain('explain');
  });

  it('says loudly of which tables the rows stay in one database, and quietly what else is left out', () => {
    const leftOut = [
      { type: 'table', name: '_AToB', reason: 'it has no primary key', unexpected: false, isData: true },
      { type: 'table', name: 'notes', reason: 'Prisma notes there', unexpected: false },
    ] as const;
    const shown = text(
      { id: 'eu-1', status: { ...ASYNC, leftOut } },
      { id: 'eu-2', status: { ...ASYNC, id: 'eu-2', leftOut } },
    );
    expect(shown).toContain(
      '! Rows of table _AToB stay on eu-1, eu-2. Other replicas do not get them: it has no primary key.\n',
    );
    expect(shown).toContain('\n  eu-1, eu-2: the table notes is not replicated: Prisma notes there.\n');
    expect(shown.match(/_AToB/g)).toHaveLength(1);
  });

  it('marks who is in sync by what the newest record says, and counts writes that wait', () => {
    const away = { id: 'eu-3', error: new AntiphonError('NO_ACTOR', 'away') };
    const shown = text(member('eu-1', { inSync: ['eu-1'], recordSeq: 3 }), member('eu-2', {}), away);
    expect(shown).toContain('(multi-primary, sync: acks all, at least 2 in sync, else reject)');
    expect(shown).toMatch(/^eu-1 .* yes +6$/m);
    expect(shown).toMatch(/^eu-2 .* yes +6$/m);
    expect(shown).toMatch(/^eu-3 +away +no$/m);
    expect(shown).not.toContain('!');
  });

  it('says loudly what a shortfall means', () => {
    const alone = { inSync: ['eu-1'] };
    expect(text(member('eu-1', alone))).toContain('! Only 1 of at least 2 replicas is in sync: writes that');
    // A majority counts members that are gone, too.
    const gone = { acks: 'majority', known: ['eu-1', 'eu-2', 'eu-3', 'eu-4'], needed: 3 } as const;
    expect(text(member('eu-1', gone))).toContain('! Only 2 of at least 3 replicas are in sync: writes that');
    const degraded = member('eu-1', { ...alone, degraded: true, onShortfall: 'degrade' });
    expect(text(degraded)).toContain('! DEGRADED: too few replicas are in sync, so eu-1 completes writes');
  });
});
