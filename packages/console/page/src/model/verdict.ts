import type { Picture } from '../data/cluster.js';
import { conditionOf, syncOf, type Tone, writingMsOf } from './condition.js';
import { counted, lasting, sentence } from './format.js';

/** The one sentence that an operator wants, and what follows from it. */
export interface Verdict {
  readonly tone: Tone;
  readonly headline: string;
  readonly detail: string;
}

/** Since when nobody is the primary. */
export interface MissedPrimary {
  readonly id: string;
  readonly sinceMs: number;
}

type Judge = (picture: Picture, missed: MissedPrimary | undefined) => Verdict | undefined;

/** The worst of what holds comes first. */
export function verdictOf(picture: Picture, missed: MissedPrimary | undefined): Verdict {
  for (const judge of JUDGES) {
    const verdict = judge(picture, missed);
    if (verdict !== undefined) return verdict;
  }
  return allIsWell(picture);
}

const JUDGES: readonly Judge[] = [
  cutOff,
  primaryAway,
  primaryIdle,
  standingStill,
  shortOfSync,
  silent,
  waiting,
  alarmed,
  behind,
];

function cutOff({ seenBy, members }: Picture): Verdict | undefined {
  const connection = members.find(({ id }) => id === seenBy)?.status?.connection;
  if (connection === undefined || connection === 'connected') return undefined;
  const headline = `${seenBy}, which serves this page, has no connection to NATS (${connection})`;
  return { tone: 'bad', headline, detail: 'Nothing is heard of the others: they may be well.' };
}

function primaryAway(picture: Picture, missed: MissedPrimary | undefined): Verdict | undefined {
  const { primary, members, atMs } = picture;
  const member = members.find(({ id }) => id === primary);
  if (primary === undefined || member?.status !== undefined) return undefined;
  const writingMs = writingMsOf(primary, members);
  if (writingMs !== undefined)
    return {
      tone: 'busy',
      headline: `${primary} is in a long write`,
      detail: `It answers nobody for ${lasting(writingMs)} now, and keeps its lease. Other writes wait for it.`,
    };
  const since = missed === undefined ? '' : ` for ${lasting(atMs - missed.sinceMs)}`;
  return {
    tone: 'bad',
    headline: `The primary, ${primary}, does not answer`,
    detail: `Nobody takes writes${since}. ${succession(picture)}`,
  };
}

function succession({ failover, primary }: Picture): string {
  if (failover === undefined)
    return `No replica takes over: the cluster was created without failover. Start ${primary} again.`;
  if (failover.mode === 'manual')
    return `No replica takes over by itself. Start ${primary} again, or use \`antiphon failover ID\`.`;
  return `Another replica takes over once its lease (${lasting(failover.leaseMs)}) has run out.`;
}

function primaryIdle({ primary, members }: Picture): Verdict | undefined {
  const status = members.find(({ id }) => id === primary)?.status;
  if (status === undefined || status.lifecycle === 'primary') return undefined;
  const { id, lifecycle, stalled, holding, alarms } = status;
  const lease = alarms.find(({ name }) => name === 'lease')?.message;
  const why: Partial<Record<typeof lifecycle, string>> = {
    suspended: sentence(lease ?? 'It has no lease now, so another replica may take its place.'),
    draining: 'It hands over to another replica. Writes wait, and nothing is lost.',
    'catching-up': 'It reads the log first. Writes wait.',
    stalled: sentence(stalled?.message ?? ''),
    holding: sentence(holding?.message ?? ''),
  };
  const tone = conditionOf({ id, status }, members).tone;
  return {
    tone,
    headline: `The primary, ${id}, is ${lifecycle}`,
    detail: why[lifecycle] ?? 'It takes no writes now.',
  };
}

function standingStill({ members }: Picture): Verdict | undefined {
  for (const { status } of members) {
    if (status === undefined) continue;
    const { id, lifecycle, stalled, holding } = status;
    const reason = stalled ?? holding;
    if (reason !== undefined)
      return { tone: 'bad', headline: `${id} is ${lifecycle}`, detail: sentence(reason.message) };
  }
  return undefined;
}

function shortOfSync(picture: Picture): Verdict | undefined {
  const sync = syncOf(picture);
  if (sync === undefined) return undefined;
  const { inSync, needed, onShortfall } = sync;
  const isDegraded = picture.members.some(({ status }) => status?.sync?.degraded === true);
  if (isDegraded)
    return {
      tone: 'bad',
      headline: 'Writes are degraded',
      detail: `Only ${inSync.length} of ${needed} replicas are in sync. Writes complete without the others.`,
    };
  if (inSync.length >= needed || onShortfall === 'degrade') return undefined;
  const detail = 'Writes that wait for others are rejected until more of them are in sync.';
  return {
    tone: 'bad',
    headline: `Only ${inSync.length} of at least ${needed} replicas are in sync`,
    detail,
  };
}

function silent(picture: Picture): Verdict | undefined {
  const away = picture.members.filter(({ status }) => status === undefined).map(({ id }) => id);
  if (away.length === 0) return undefined;
  const headline = `${away.join(' and ')} ${away.length === 1 ? 'does' : 'do'} not answer`;
  const others = picture.members.length - away.length;
  return {
    tone: 'busy',
    headline,
    detail: `${writer(picture)} The other ${counted(others, 'replica')} answer.`,
  };
}

function waiting({ members }: Picture): Verdict | undefined {
  const first = members.find(({ status }) => (status?.waitingFor.length ?? 0) > 0)?.status;
  const missing = first?.waitingFor[0];
  if (first === undefined || missing === undefined) return undefined;
  const { origin, expected, reason } = missing;
  return { tone: 'busy', headline: `${first.id} waits for ${origin}:${expected}`, detail: sentence(reason) };
}

function alarmed(picture: Picture): Verdict | undefined {
  const alarms = picture.members.flatMap(({ status }) => status?.alarms ?? []);
  const [first] = alarms;
  if (first === undefined) return undefined;
  const messages = new Set(alarms.map(({ message }) => message)).size;
  return { tone: 'busy', headline: counted(messages, 'alarm'), detail: sentence(first.message) };
}

function behind({ members }: Picture): Verdict | undefined {
  const late = members.flatMap(({ status }) => (status?.lifecycle === 'catching-up' ? [status] : []));
  const [first] = late;
  if (first === undefined) return undefined;
  const { id, lag } = first;
  const detail = `${counted(lag.entries, 'entry', 'entries')} of the log are not applied there yet.`;
  return { tone: 'busy', headline: `${id} is catching up`, detail };
}

function allIsWell(picture: Picture): Verdict {
  const { members } = picture;
  const detail = `${writer(picture)} All ${counted(members.length, 'replica')} answer, and are in step with the log.`;
  return { tone: 'good', headline: 'All is well', detail };
}

function writer({ primary }: Picture): string {
  return primary === undefined ? 'Every replica takes writes.' : `${primary} is the primary.`;
}
