import type { DiscardAnswer, RetryAnswer } from '@antiphon/replica';
import { useState } from 'preact/hooks';
import type { Picture, QuarantinedDetails, Quarantines } from '../data/cluster.js';
import { postJson } from '../data/request.js';
import { bytes, counted, dateAndTime, sentence, whole } from '../model/format.js';
import { Action, type Question } from '../parts/confirmation.js';
import { Empty, Failed, Loading, Panel } from '../parts/panel.js';
import { Prose } from '../parts/prose.js';
import { Table } from '../parts/table.js';
import { useAnswer } from '../parts/use-answer.js';
import { Value } from '../parts/value.js';

interface Chosen {
  readonly replica: string;
  readonly seq: number;
}

/** Messages that no replica can accept, and what one database refuses. */
export function QuarantineView({ picture }: { readonly picture: Picture }) {
  const [chosen, setChosen] = useState<Chosen | undefined>(undefined);
  const version = picture.members
    .map(({ status }) => `${status?.quarantined ?? -1} ${status?.holding?.seq ?? ''}`)
    .join();
  const { answer, again } = useAnswer<Quarantines>('/v1/cluster/quarantine', version);
  return (
    <>
      <Panel
        title="Quarantine"
        about="Messages that no replica can accept. The log goes on behind them; their origin is waited for."
      >
        {answer.state === 'failed' && <Failed message={answer.message} retry={again} />}
        {answer.state === 'loading' && answer.value === undefined && <Loading what="the quarantine" />}
        {answer.value && (
          <Lists quarantines={answer.value} chosen={chosen} choose={setChosen} changed={again} />
        )}
      </Panel>
      {chosen && (
        <Detail key={`${chosen.replica} ${chosen.seq}`} chosen={chosen} version={version} changed={again} />
      )}
    </>
  );
}

interface ListsProps {
  readonly quarantines: Quarantines;
  readonly chosen: Chosen | undefined;
  readonly choose: (chosen: Chosen) => void;
  readonly changed: () => void;
}

function Lists({ quarantines: { replicas }, chosen, choose, changed }: ListsProps) {
  const rows = replicas.flatMap(({ id: replica, messages = [] }) =>
    messages.map((one) => ({ replica, ...one })),
  );
  const silent = replicas.flatMap(({ id, error }) =>
    error === undefined ? [] : [`${id}: ${error.message}`],
  );
  const holding = replicas.flatMap(({ id, holding: one }) => (one === undefined ? [] : [{ id, ...one }]));
  return (
    <>
      {silent.map((text) => (
        <p key={text} class="warning">
          {text}
        </p>
      ))}
      {holding.map(({ id, code, message, attempts }) => (
        <div key={id} class="held">
          <p>
            <strong>{id} holds</strong> <code>{code}</code> {sentence(message)}{' '}
            <span class="quiet">Tried {counted(attempts, 'time')}.</span>
          </p>
          <Action label="Try it now" question={() => retry(id, undefined, changed)} />
        </div>
      ))}
      {rows.length === 0 && holding.length === 0 && (
        <Empty title="Nothing is quarantined, and nothing is held">
          Every message was accepted by every database.
        </Empty>
      )}
      {rows.length > 0 && (
        <Table
          caption="Quarantined messages"
          rows={rows}
          keyOf={({ replica, id }) => `${replica} ${id}`}
          columns={[
            {
              ...{ title: 'entry', isName: true },
              cell: ({ replica, seq }) => (
                <button
                  type="button"
                  class="link"
                  aria-pressed={chosen?.replica === replica && chosen.seq === seq}
                  onClick={() => choose({ replica, seq })}
                >
                  {whole(seq)}
                </button>
              ),
            },
            { title: 'replica', cell: ({ replica }) => replica },
            { title: 'origin', cell: ({ origin }) => origin },
            {
              title: 'why',
              cell: ({ code, message }) => (
                <div class="wide">
                  <Prose text={`${code}: ${sentence(message)}`} />
                </div>
              ),
            },
            { title: 'size', align: 'right', cell: ({ bytes: count }) => bytes(count) },
            { title: 'since', cell: ({ quarantinedAtMs }) => <time>{dateAndTime(quarantinedAtMs)}</time> },
          ]}
        />
      )}
    </>
  );
}

interface DetailProps {
  readonly chosen: Chosen;
  readonly version: string;
  readonly changed: () => void;
}

function Detail({ chosen: { replica, seq }, version, changed }: DetailProps) {
  const path = `/v1/cluster/quarantined?replica=${encodeURIComponent(replica)}&seq=${seq}`;
  const { answer, again } = useAnswer<QuarantinedDetails>(path, version);
  const actions = (
    <>
      <Action label="Judge it again" question={() => retry(replica, seq, changed)} />
      <Action label="Discard" question={() => discard(replica, seq, changed)} />
    </>
  );
  return (
    <Panel title={`Entry ${whole(seq)} on ${replica}`} actions={actions}>
      {answer.state === 'failed' && <Failed message={answer.message} retry={again} />}
      {answer.state === 'loading' && <Loading what="the message" />}
      {answer.state === 'here' &&
        answer.value.messages.map((message) => (
          <div key={message.id}>
            <p>
              <code>{message.code}</code> {sentence(message.message)}
            </p>
            <Content content={message.content} />
          </div>
        ))}
    </Panel>
  );
}

type ContentOf = QuarantinedDetails['messages'][number]['content'];

function Content({ content }: { readonly content: ContentOf }) {
  if (content.type === 'unreadable')
    return (
      <>
        <p>
          It cannot be read: {sentence(content.reason)} {bytes(content.bytes)} in all, which begin with:
        </p>
        <pre tabIndex={0}>{content.hex}</pre>
      </>
    );
  return (
    <>
      <ul class="batches">
        {content.batches.map(({ origin, firstCounter, lastCounter, tables, synchronous }) => (
          <li key={firstCounter}>
            {origin}:{firstCounter}
            {lastCounter > firstCounter ? `–${lastCounter}` : ''} on {tables.join(', ')}
            {synchronous ? ', synchronous' : ''}
          </li>
        ))}
      </ul>
      {content.changes.map(({ op, table, row, transaction }, index) => (
        <Table
          key={index}
          caption={`${op} in ${table}, of ${transaction}`}
          rows={Object.entries(row)}
          keyOf={([column]) => column}
          columns={[
            { title: `${op} in ${table}`, isName: true, cell: ([column]) => column },
            { title: transaction, cell: ([, value]) => <Value value={value} /> },
          ]}
        />
      ))}
      {content.more && <p class="quiet">There are more changes than these.</p>}
    </>
  );
}

function retry(replica: string, seq: number | undefined, done: () => void): Question {
  const what = seq === undefined ? `what ${replica} holds` : `entry ${whole(seq)} on ${replica}`;
  return {
    title: seq === undefined ? `Try ${what} now?` : `Judge ${what} again?`,
    says: [
      'What is acceptable now, and next from its origin, is applied. What is not stays where it is.',
      'What this database refuses is tried at once as well, instead of a little later by itself.',
    ],
    verb: 'Try it',
    run: async () => {
      const body = { replica, ...(seq !== undefined && { seq }) };
      const { results, held } = await postJson<RetryAnswer>('/v1/admin/quarantine/retry', body);
      done();
      const said = [...results.map(({ message }) => message), ...(held ? [held.message] : [])];
      return said.length === 0 ? 'There was nothing to try.' : said.map(sentence).join(' ');
    },
  };
}

function discard(replica: string, seq: number, done: () => void): Question {
  return {
    title: `Discard entry ${whole(seq)} on ${replica}?`,
    says: [
      'It cannot be shown or judged again afterwards.',
      'The transactions of its origin are missing as before: what comes after them is still waited for.',
    ],
    verb: 'Discard it',
    isDangerous: true,
    run: async () => {
      const answer = await postJson<DiscardAnswer>('/v1/admin/quarantine/discard', { replica, seq });
      done();
      return `${counted(answer.discarded, 'message')} discarded.`;
    },
  };
}
