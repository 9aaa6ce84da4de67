import type { Member, Picture } from '../data/cluster.js';
import { conditionOf, isDrained, syncOf, type Tone } from './condition.js';
import { counted, sentence, whole } from './format.js';

/** Something that was seen to change. */
export interface Happening {
  readonly atMs: number;
  readonly tone: Tone;
  readonly text: string;
}

type Change = Omit<Happening, 'atMs'>;

/** What is different in two pictures of one cluster, the most important first. */
export function happeningsBetween(before: Picture, now: Picture): readonly Happening[] {
  const changes = [...epochChange(before, now), ...syncChange(before, now)];
  for (const member of now.members) {
    const earlier = before.members.find(({ id }) => id === member.id);
    changes.push(...memberChanges(earlier, member, now));
  }
  for (const { id } of before.members)
    if (!now.members.some((one) => one.id === id))
      changes.push({ tone: 'busy', text: `${id} is a member no more.` });
  return changes.map((change) => ({ atMs: now.atMs, ...change }));
}

function epochChange(before: Picture, now: Picture): readonly Change[] {
  const [earlier, epoch] = [newestEpoch(before), newestEpoch(now)];
  if (epoch === undefined || earlier === undefined || epoch.number <= earlier.number) return [];
  const { number, primary, why, seq } = epoch;
  return [
    {
      tone: 'good',
      text: `${primary} is the primary: epoch ${number}, ${why}, from entry ${whole(seq)} of the log on.`,
    },
  ];
}

export function newestEpoch({ members }: Picture) {
  return members
    .flatMap(({ status }) => status?.epoch ?? [])
    .sort((one, other) => other.number - one.number)[0];
}

function syncChange(before: Picture, now: Picture): readonly Change[] {
  const [earlier, sync] = [syncOf(before)?.inSync, syncOf(now)?.inSync];
  if (earlier === undefined || sync === undefined) return [];
  const left = earlier.filter((id) => !sync.includes(id));
  const joined = sync.filter((id) => !earlier.includes(id));
  return [
    ...left.map((id): Change => ({ tone: 'busy', text: `${id} has left the in-sync set.` })),
    ...joined.map((id): Change => ({ tone: 'good', text: `${id} is in sync.` })),
  ];
}

function memberChanges(before: Member | undefined, now: Member, { members }: Picture): readonly Change[] {
  const { id, status } = now;
  if (before === undefined) return [{ tone: 'good', text: `${id} has joined.` }];
  const earlier = before.status;
  const { tone, word } = conditionOf(now, members);
  if (status === undefined)
    return earlier === undefined ? [] : [{ tone: 'bad', text: `${id} does not answer (${word}).` }];
  if (earlier === undefined) return [{ tone, text: `${id} answers again: it is ${word}.` }];
  const changes: Change[] = [];
  if (earlier.lifecycle !== status.lifecycle)
    changes.push({ tone, text: `${id}: ${earlier.lifecycle} → ${status.lifecycle}.` });
  if (earlier.connection !== status.connection)
    changes.push({
      tone: status.connection === 'connected' ? 'good' : 'bad',
      text: `${id}: NATS ${status.connection}.`,
    });
  if (isDrained(earlier) !== isDrained(status))
    changes.push({
      tone: 'busy',
      text: isDrained(status) ? `${id} is drained.` : `${id} takes reads again.`,
    });
  const more = (name: 'conflicts' | 'quarantined' | 'rescued', one: string, many?: string): void => {
    const count = status[name] - earlier[name];
    if (count > 0) changes.push({ tone: 'bad', text: `${id}: ${counted(count, one, many)}.` });
  };
  more('conflicts', 'conflict');
  more('quarantined', 'message quarantined', 'messages quarantined');
  more('rescued', 'transaction in the rescue ledger', 'transactions in the rescue ledger');
  return [...changes, ...alarmChanges(id, earlier.alarms, status.alarms)];
}

type Alarms = NonNullable<Member['status']>['alarms'];

function alarmChanges(id: string, before: Alarms, now: Alarms): readonly Change[] {
  const isIn = (alarms: Alarms, name: string): boolean => alarms.some((one) => one.name === name);
  const begun = now.filter(({ name }) => !isIn(before, name));
  const ended = before.filter(({ name }) => !isIn(now, name));
  return [
    ...begun.map(({ name, message }): Change => ({
      tone: 'bad',
      text: `${id}, alarm ${name}: ${sentence(message)}`,
    })),
    ...ended.map(({ name }): Change => ({ tone: 'good', text: `${id}: the alarm ${name} is over.` })),
  ];
}
