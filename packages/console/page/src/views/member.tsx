import type { ComponentChildren } from 'preact';
import type { Member, Picture, Status } from '../data/cluster.js';
import { postJson } from '../data/request.js';
import { conditionOf, isDrained, partOf, syncOf } from '../model/condition.js';
import { bytes, counted, dateAndTime, lasting, measured, sentence, whole } from '../model/format.js';
import type { Observed } from '../model/observe.js';
import { newestOf } from '../model/samples.js';
import { Action, type Question } from '../parts/confirmation.js';
import { Empty, Panel } from '../parts/panel.js';
import { Prose } from '../parts/prose.js';
import { State } from '../parts/state.js';
import { failoverTo } from './failover.js';
import { switchoverTo } from './switchover.js';

interface MemberViewProps {
  readonly seen: Observed;
  readonly picture: Picture;
  readonly id: string;
}

/** One replica: what it says of itself, what is wrong, and what can be done. */
export function MemberView({ seen, picture, id }: MemberViewProps) {
  const member = picture.members.find((one) => one.id === id);
  if (member === undefined)
    return (
      <Empty title={`There is no replica "${id}" in ${picture.cluster}`}>
        <a href="#/">Go to the overview</a>
      </Empty>
    );
  const { status } = member;
  const { tone, word } = conditionOf(member, picture.members);
  return (
    <>
      <nav class="crumbs" aria-label="Where this is">
        <a href="#/">Overview</a> / <span aria-current="page">{id}</span>
      </nav>
      <Panel
        title={id}
        about={
          <>
            {partOf(member, picture)} · <State tone={tone} word={word} />
          </>
        }
        actions={status && <Actions status={status} picture={picture} />}
      >
        {status === undefined ? (
          <Silent member={member} />
        ) : (
          <Facts status={status} seen={seen} picture={picture} />
        )}
      </Panel>
      {status !== undefined && <Troubles status={status} />}
      {status !== undefined && <Others status={status} />}
    </>
  );
}

function Silent({ member: { id, error } }: { readonly member: Member }) {
  return (
    <Empty title={`${id} does not answer`}>
      {error === undefined ? '' : `${sentence(error.message)} (${error.code})`}
    </Empty>
  );
}

function Actions({ status, picture }: { readonly status: Status; readonly picture: Picture }) {
  const { id } = status;
  const canBePrimary = picture.failover !== undefined && picture.primary !== id;
  return (
    <>
      {isDrained(status) ? (
        <Action label="Resume" question={() => resume(id)} />
      ) : (
        <Action label="Drain" question={() => drain(id)} />
      )}
      {canBePrimary && (
        <>
          <Action label="Make it the primary" question={() => switchoverTo(id, picture.primary)} />
          <Action label="Fail over to it" question={() => failoverTo(id)} />
        </>
      )}
    </>
  );
}

function drain(id: string): Question {
  return {
    title: `Drain ${id}?`,
    says: [
      `Clients that spread their reads send no new ones to ${id}, and /readyz there answers 503.`,
      'It follows as before, and takes writes as before. Resuming it, or a restart, ends that.',
    ],
    verb: 'Drain it',
    run: async () => {
      await postJson('/v1/admin/drain', { replica: id });
      return `${id} is drained.`;
    },
  };
}

function resume(id: string): Question {
  return {
    title: `Resume ${id}?`,
    says: [`Clients that spread their reads send some to ${id} again.`],
    verb: 'Resume it',
    run: async () => {
      await postJson('/v1/admin/resume', { replica: id });
      return `${id} takes reads again.`;
    },
  };
}

interface FactsProps {
  readonly status: Status;
  readonly seen: Observed;
  readonly picture: Picture;
}

function Facts({ status, seen, picture }: FactsProps) {
  const { id, position, appliedSeq, log, lag, outbox, sync, epoch, clock, reads, nowMs } = status;
  const writeMs = newestOf(seen.samples, id, 'writeMs');
  const inSync = syncOf(picture)?.inSync.includes(id);
  const facts: readonly (readonly [name: string, value: ComponentChildren])[] = [
    ['log position', `${position.text}, of ${whole(log.lastSeq)}`],
    ['applied up to', whole(appliedSeq)],
    ['lag', `${counted(lag.entries, 'entry', 'entries')}, ${lasting(lag.seconds * 1000)}`],
    [
      'unsent',
      `${counted(outbox.unpublished, 'transaction')}, ${counted(outbox.unsealed, 'change')} not sealed`,
    ],
    ['outbox', `${counted(outbox.messages, 'message')}, ${bytes(outbox.bytes)}`],
    ['write time', writeMs === undefined ? 'no write in the last second' : measured(writeMs)],
    ...(epoch === undefined ? [] : [['epoch', `${epoch.number}: ${epoch.primary} is the primary`] as const]),
    ...(sync === undefined
      ? []
      : [
          [
            'in sync',
            `${inSync === true ? 'yes' : 'no'}; ${counted(sync.inSync.length, 'member')}, ${sync.needed} needed`,
          ] as const,
          ['durable up to', whole(sync.durableSeq)] as const,
          ['writes under way', `${sync.waiting} waiting, ${sync.unacknowledged} unacknowledged`] as const,
        ]),
    ['NATS', status.connection],
    [
      'clock',
      `${measured(Math.abs(clock.aheadOfLogMs))} ${clock.aheadOfLogMs < 0 ? 'behind' : 'ahead of'} the log's`,
    ],
    ['reads', `weight ${reads.weight}${reads.zone === undefined ? '' : `, zone ${reads.zone}`}`],
    ['database', `${status.engine}, Antiphon ${status.version}`],
    ['memory', status.memoryBytes === undefined ? 'not known' : bytes(status.memoryBytes)],
    ['up', `${lasting(nowMs - status.startedAtMs)}, since ${dateAndTime(status.startedAtMs)}`],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Troubles({ status }: { readonly status: Status }) {
  const { stalled, holding, waitingFor, alarms, nowMs } = status;
  const isWell = stalled === undefined && holding === undefined && waitingFor.length + alarms.length === 0;
  const since = (sinceMs: number): string => lasting(nowMs - sinceMs);
  return (
    <Panel title="Alarms" about="What has happened, and the way back.">
      {isWell && <Empty title="There are none" />}
      <ul class="troubles">
        {stalled && (
          <Trouble
            name="stalled"
            text={stalled.message}
            since={since(stalled.sinceMs)}
            explain={stalled.code}
          />
        )}
        {holding && (
          <Trouble name="holds" text={holding.message} since={since(holding.sinceMs)} explain="holding" />
        )}
        {waitingFor.map(({ origin, expected, reason, answer, sinceMs }) => (
          <Trouble
            key={`${origin}:${expected}`}
            name={`waits for ${origin}:${expected}`}
            text={`${sentence(reason)} ${answer === undefined ? '' : sentence(answer)}`}
            since={since(sinceMs)}
            explain="waiting"
          />
        ))}
        {alarms.map(({ name, message, section, sinceMs }) => (
          <Trouble
            key={name}
            name={name}
            text={message}
            since={since(sinceMs)}
            explain={section.replace('alarm-', '')}
          />
        ))}
      </ul>
    </Panel>
  );
}

interface TroubleProps {
  readonly name: string;
  readonly text: string;
  readonly since: string;
  /** What `antiphon explain` is asked for it. */
  readonly explain: string;
}

function Trouble({ name, text, since, explain }: TroubleProps) {
  return (
    <li>
      <p>
        <strong>{name}</strong> <span class="quiet">for {since}</span>
      </p>
      <p>
        <Prose text={sentence(text)} />
      </p>
      <p class="quiet">
        More: <code>antiphon explain {explain}</code>, or docs/operations.md
      </p>
    </li>
  );
}

function Others({ status: { subscriptions, publishing, leftOut, vector } }: { readonly status: Status }) {
  const published =
    publishing && `${publishing.stream}: ${publishing.state}, message ${whole(publishing.publishedSeq)}`;
  return (
    <Panel title="What it carries">
      <dl class="facts">
        <div>
          <dt>applied of each origin</dt>
          <dd>
            {Object.entries(vector)
              .map(([origin, counter]) => `${origin}:${counter}`)
              .join(' · ') || 'nothing yet'}
          </dd>
        </div>
        <div>
          <dt>subscriptions</dt>
          <dd>{subscriptions.map(({ name, state }) => `${name} (${state})`).join(', ') || 'none'}</dd>
        </div>
        <div>
          <dt>published changes</dt>
          <dd>{published ?? 'none'}</dd>
        </div>
        <div>
          <dt>not replicated</dt>
          <dd>{leftOut.map(({ type, name }) => `${type} ${name}`).join(', ') || 'nothing is left out'}</dd>
        </div>
      </dl>
    </Panel>
  );
}
