import { useState } from 'preact/hooks';
import type { Picture, QueryAnswer, SessionPlace } from '../data/cluster.js';
import { messageOf, postJson } from '../data/request.js';
import { counted, measured, whole } from '../model/format.js';
import { advanced } from '../model/session.js';
import { Empty, Failed, Panel } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { Value } from '../parts/value.js';

const CONSISTENCIES = ['any', 'bounded', 'session', 'strong'] as const;
type Consistency = (typeof CONSISTENCIES)[number];

const MEANINGS: Readonly<Record<Consistency, string>> = {
  any: 'the database as it is',
  bounded: 'everything that the log held so long ago',
  session: 'at least what this page has seen before',
  strong: 'everything that was acknowledged before',
};

interface Asked {
  readonly sql: string;
  readonly replica: string;
  readonly consistency: Consistency;
  readonly maxLagMs: number;
}

type Result =
  | { readonly state: 'idle' }
  | { readonly state: 'running'; readonly before?: QueryAnswer }
  | { readonly state: 'here'; readonly answer: QueryAnswer }
  | { readonly state: 'failed'; readonly message: string };

const MAX_SHOWN = 500;
const FIRST_SQL =
  "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_antiphon%' ESCAPE '\\'";

/** Kept while other views are shown. */
let kept: Asked = { sql: FIRST_SQL, replica: '', consistency: 'any', maxLagMs: 1000 };
/** What this page has seen: every answer moves it on, whatever was asked for. */
let session: SessionPlace | undefined;

export function QueryView({ picture }: { readonly picture: Picture }) {
  const [asked, setAsked] = useState(kept);
  const [result, setResult] = useState<Result>({ state: 'idle' });
  const [seen, setSeen] = useState(session);
  const move = (place: SessionPlace | undefined): void => setSeen((session = place));
  const change = (part: Partial<Asked>): void => setAsked((kept = { ...asked, ...part }));
  const run = (): void => {
    if (result.state === 'running' || asked.sql.trim() === '') return;
    setResult({ state: 'running', ...(result.state === 'here' && { before: result.answer }) });
    postJson<QueryAnswer>('/v1/cluster/query', bodyOf(asked, picture, session)).then(
      (answer) => {
        if (answer.position !== undefined) move(advanced(session, answer.position));
        setResult({ state: 'here', answer });
      },
      (error: unknown) => setResult({ state: 'failed', message: messageOf(error) }),
    );
  };
  return (
    <>
      <Panel title="Query" about="Reads one replica. Statements that write are refused.">
        <QueryForm
          picture={picture}
          asked={asked}
          change={change}
          run={run}
          isRunning={result.state === 'running'}
        />
        {asked.consistency === 'session' && <SessionLine seen={seen} forget={() => move(undefined)} />}
      </Panel>
      <Panel title="Answer">
        {result.state === 'idle' && (
          <Empty title="Nothing was asked yet">Ctrl+Enter in the statement runs it.</Empty>
        )}
        {result.state === 'failed' && <Failed message={result.message} retry={run} />}
        {result.state === 'running' && <p role="status">Reading…</p>}
        {result.state === 'here' && <Rows answer={result.answer} />}
        {result.state === 'running' && result.before && <Rows answer={result.before} />}
      </Panel>
    </>
  );
}

/** A session that has seen nothing begins with whatever it is shown. */
function bodyOf(
  { sql, replica, consistency, maxLagMs }: Asked,
  { members }: Picture,
  after: SessionPlace | undefined,
): object {
  const begins = consistency === 'session' && after === undefined;
  return {
    ...{ sql, consistency: begins ? 'any' : consistency },
    ...(members.some(({ id }) => id === replica) && { replica }),
    ...(consistency === 'session' && after && { after }),
    ...(consistency === 'bounded' && { maxLagMs }),
  };
}

interface SessionLineProps {
  readonly seen: SessionPlace | undefined;
  readonly forget: () => void;
}

function SessionLine({ seen, forget }: SessionLineProps) {
  if (seen === undefined)
    return <p class="session quiet">The session has seen nothing yet: it begins with the next answer.</p>;
  const counters = Object.entries(seen.vector ?? {}).map(([origin, counter]) => `${origin}:${counter}`);
  return (
    <p class="session">
      The session has seen everything up to entry <strong>{whole(seen.seq)}</strong> of the log
      {counters.length > 0 && (
        <>
          , and <code>{counters.join(', ')}</code>
        </>
      )}
      . Whichever replica answers next shows no less.{' '}
      <button type="button" class="link" onClick={forget}>
        Begin anew
      </button>
    </p>
  );
}

interface FormProps {
  readonly picture: Picture;
  readonly asked: Asked;
  readonly change: (part: Partial<Asked>) => void;
  readonly run: () => void;
  readonly isRunning: boolean;
}

function QueryForm({ picture, asked, change, run, isRunning }: FormProps) {
  const { sql, replica, consistency, maxLagMs } = asked;
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    run();
  };
  return (
    <form class="query" onSubmit={submit}>
      <label class="sql">
        Statement
        <textarea
          rows={4}
          spellcheck={false}
          value={sql}
          onInput={(event) => change({ sql: event.currentTarget.value })}
          onKeyDown={onKeyDown}
        />
      </label>
      <label>
        Replica
        <select value={replica} onChange={(event) => change({ replica: event.currentTarget.value })}>
          <option value="">{picture.seenBy}, of this server</option>
          {picture.members
            .filter(({ id }) => id !== picture.seenBy)
            .map(({ id, status }) => (
              <option key={id} value={id}>
                {status === undefined ? `${id} (no answer)` : id}
              </option>
            ))}
        </select>
      </label>
      <label>
        Consistency
        <select
          value={consistency}
          onChange={({ currentTarget: { value } }) =>
            change({ consistency: CONSISTENCIES.find((one) => one === value) ?? 'any' })
          }
        >
          {CONSISTENCIES.map((name) => (
            <option key={name} value={name}>
              {name}: {MEANINGS[name]}
            </option>
          ))}
        </select>
      </label>
      {consistency === 'bounded' && (
        <label>
          At most so old, in ms
          <input
            type="number"
            min={1}
            max={300_000}
            required
            value={maxLagMs}
            onInput={(event) => change({ maxLagMs: event.currentTarget.valueAsNumber })}
          />
        </label>
      )}
      <button type="submit" class="primary" disabled={isRunning}>
        {isRunning ? 'Running…' : 'Run'}
      </button>
    </form>
  );
}

interface Numbered {
  readonly row: QueryAnswer['rows'][number];
  readonly index: number;
}

function Rows({ answer }: { readonly answer: QueryAnswer }) {
  const { replica, tookMs, columns, rows, position } = answer;
  return (
    <>
      <p class="result" role="status">
        <strong>{replica}</strong> answered in {measured(tookMs)}
        {position === undefined ? '' : `, at entry ${whole(position.seq)} of the log`}:{' '}
        {counted(rows.length, 'row')}.
      </p>
      {rows.length > MAX_SHOWN && <p class="quiet">The first {MAX_SHOWN} are shown.</p>}
      {rows.length > 0 && (
        <Table
          caption="Rows"
          rows={rows.slice(0, MAX_SHOWN).map((row, index) => ({ row, index }))}
          keyOf={({ index }) => index}
          columns={columns.map((title) => ({
            title,
            cell: ({ row }: Numbered) => <Value value={row[title]} />,
          }))}
        />
      )}
    </>
  );
}
