import { useState } from 'preact/hooks';
import type { Conflicts, JsonValue, Picture } from '../data/cluster.js';
import { conflictsOf, idOf, reasonOf, type SeenConflict } from '../model/conflicts.js';
import { counted, dateAndTime, measured } from '../model/format.js';
import { Empty, Failed, Loading, Panel } from '../parts/panel.js';
import { Table } from '../parts/table.js';
import { useAnswer } from '../parts/use-answer.js';
import { sameValue, Value } from '../parts/value.js';
import { MoreColumns } from './versions.js';

/** Rows that two replicas changed without knowing of each other: both versions, side by side. */
export function ConflictsView({ picture }: { readonly picture: Picture }) {
  // Asked anew when a replica has decided another one.
  const version = picture.members.map(({ status }) => status?.conflicts ?? -1).join();
  const { answer, again } = useAnswer<Conflicts>('/v1/cluster/conflicts', version);
  const [chosen, setChosen] = useState<string | undefined>(undefined);
  const all = answer.value === undefined ? [] : conflictsOf(answer.value);
  const shown = all.find(({ name }) => name === chosen) ?? all[0];
  return (
    <>
      <Panel
        title="Conflicts"
        about="Two replicas changed one row without knowing of each other. The later write stays, and the other one is lost."
      >
        {answer.state === 'failed' && <Failed message={answer.message} retry={again} />}
        {answer.state === 'loading' && answer.value === undefined && <Loading what="the conflicts" />}
        {answer.value && <Listed conflicts={answer.value} all={all} shown={shown} choose={setChosen} />}
      </Panel>
      {shown && <Detail conflict={shown} />}
    </>
  );
}

interface ListedProps {
  readonly conflicts: Conflicts;
  readonly all: readonly SeenConflict[];
  readonly shown: SeenConflict | undefined;
  readonly choose: (name: string) => void;
}

function Listed({ conflicts: { replicas }, all, shown, choose }: ListedProps) {
  const counts = replicas.flatMap(({ id, total = 0 }) =>
    total === 0 ? [] : [`${id}: ${counted(total, 'conflict')}`],
  );
  const silent = replicas.flatMap(({ id, error }) =>
    error === undefined ? [] : [`${id}: ${error.message}`],
  );
  return (
    <>
      {silent.map((text) => (
        <p key={text} class="warning">
          {text}
        </p>
      ))}
      {counts.length > 0 && (
        <p class="quiet">
          Counted by each replica since its database joined: {counts.join(', ')}. Each keeps its last 200.
        </p>
      )}
      {all.length === 0 ? (
        <Empty title="There was none">
          With one primary there cannot be any. docs/several-writers.md says how to have none with several.
        </Empty>
      ) : (
        <Table
          caption="The last conflicts, the newest first"
          rows={all}
          keyOf={({ name }) => name}
          columns={[
            {
              ...{ title: 'row', isName: true },
              cell: ({ name, table, key }) => (
                <button
                  type="button"
                  class="link unbroken"
                  aria-pressed={name === shown?.name}
                  onClick={() => choose(name)}
                >
                  {table}{' '}
                  {key.map((value, index) => (
                    <code key={index}>
                      <Value value={value} />
                    </code>
                  ))}
                </button>
              ),
            },
            { title: 'stays', cell: ({ winner }) => <span class="wins unbroken">{idOf(winner)}</span> },
            { title: 'lost', cell: ({ loser }) => <span class="loses unbroken">{idOf(loser)}</span> },
            { title: 'decided', cell: ({ atMs }) => <time>{dateAndTime(atMs)}</time> },
            { title: 'decided by', cell: ({ by }) => by.map(({ replica }) => replica).join(', ') },
          ]}
        />
      )}
    </>
  );
}

function Detail({ conflict }: { readonly conflict: SeenConflict }) {
  const { table, key, winner, loser, kept, lost } = conflict;
  const name = `${table}, key ${key.map((value) => JSON.stringify(value)).join(', ')}`;
  return (
    <Panel
      title={`${idOf(winner)} stays, ${idOf(loser)} is lost`}
      about={reasonOf(conflict, measured)}
      class="conflict"
    >
      <Sides conflict={conflict} name={name} />
      <MoreColumns count={conflict.moreColumns} />
      {kept === undefined && <p class="quiet">What stays is that the row was deleted.</p>}
      {lost === undefined && (
        <p class="quiet">Lost is a deletion, or a row that another one with its unique value had hidden.</p>
      )}
      <p class="quiet">
        What is lost is kept here, and nowhere else. If it counts, write it again: an ordinary change, made
        now, stays. docs/several-writers.md says how to have no conflicts.
      </p>
    </Panel>
  );
}

/** What is neither what stays nor what was lost was written since. */
function nowClass(stays: JsonValue | undefined, is: JsonValue | undefined): string {
  return sameValue(is, stays) ? '' : 'other';
}

/** Column by column: what stays, what is lost, what the row is now; those that differ stand out. */
function Sides({ conflict, name }: { readonly conflict: SeenConflict; readonly name: string }) {
  const { columns, winner, loser, kept, lost, by } = conflict;
  const [first] = by;
  return (
    <div class="scrolls versions" role="region" aria-label={name} tabIndex={0}>
      <table>
        <caption>
          <strong>{name}</strong>
        </caption>
        <thead>
          <tr>
            <th scope="col">column</th>
            <th scope="col">
              <span class="wins">stays</span>, of {winner.origin} <At time={winner.time} />
            </th>
            <th scope="col">
              <span class="loses">lost</span>, of {loser.origin} <At time={loser.time} />
            </th>
            <th scope="col">now, on {first?.replica}</th>
          </tr>
        </thead>
        <tbody>
          {columns.map((column, index) => {
            const [stays, gone, is] = [kept?.[index], lost?.[index], first?.here?.[index]];
            const differs = sameValue(stays, gone) ? '' : 'changed';
            return (
              <tr key={column} class={differs === '' ? '' : 'differs'}>
                <th scope="row">
                  {column}
                  {differs !== '' && <span class="hidden"> differs</span>}
                </th>
                <td class={differs}>
                  <Value value={stays} />
                </td>
                <td class={differs}>
                  <Value value={gone} />
                </td>
                <td class={nowClass(stays, is)}>
                  <Value value={is} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

function At({ time }: { readonly time: number }) {
  return <time class="quiet">{dateAndTime(time / 1000)}</time>;
}
