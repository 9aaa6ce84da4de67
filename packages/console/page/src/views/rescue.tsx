import { useState } from 'preact/hooks';
import type { Picture, Reapplied, RescueDetail, RescuedChange, Rescues } from '../data/cluster.js';
import { postJson } from '../data/request.js';
import { counted, dateAndTime } from '../model/format.js';
import { Action, type Question } from '../parts/confirmation.js';
import { Empty, Failed, Loading, Panel } from '../parts/panel.js';
import { useAnswer } from '../parts/use-answer.js';
import { Table } from '../parts/table.js';
import { Versions } from './versions.js';

interface Chosen {
  readonly replica: string;
  readonly id: number;
}

/** What deposed primaries had committed and the log had not. */
export function RescueView({ picture }: { readonly picture: Picture }) {
  const [all, setAll] = useState(false);
  const [chosen, setChosen] = useState<Chosen | undefined>(undefined);
  // Asked anew when a replica says that its ledger is another one.
  const version = picture.members.map(({ status }) => status?.rescued ?? -1).join();
  const path = `/v1/cluster/rescues?state=${all ? 'all' : 'kept'}`;
  const { answer, again } = useAnswer<Rescues>(path, version);
  const choice = (
    <label class="check">
      <input type="checkbox" checked={all} onChange={(event) => setAll(event.currentTarget.checked)} />
      also those that were decided
    </label>
  );
  return (
    <>
      <Panel
        title="Rescue ledger"
        about="What a deposed primary had committed and the log had not. It was taken out of the database, and is kept here."
        actions={choice}
      >
        {answer.state === 'failed' && <Failed message={answer.message} retry={again} />}
        {answer.state === 'loading' && answer.value === undefined && <Loading what="the ledgers" />}
        {answer.value && <Ledgers rescues={answer.value} chosen={chosen} choose={setChosen} />}
      </Panel>
      {chosen && (
        <Detail key={`${chosen.replica} ${chosen.id}`} chosen={chosen} version={version} changed={again} />
      )}
    </>
  );
}

interface LedgersProps {
  readonly rescues: Rescues;
  readonly chosen: Chosen | undefined;
  readonly choose: (chosen: Chosen) => void;
}

function Ledgers({ rescues: { replicas }, chosen, choose }: LedgersProps) {
  const rows = replicas.flatMap(({ id: replica, transactions = [] }) =>
    transactions.map((one) => ({ replica, ...one })),
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
      {rows.length === 0 ? (
        <Empty title="Nothing waits for a decision">
          Everything that was committed has come into the log.
        </Empty>
      ) : (
        <Table
          caption="Transactions of the rescue ledgers"
          rows={rows}
          keyOf={({ replica, id }) => `${replica} ${id}`}
          columns={[
            {
              ...{ title: 'transaction', isName: true },
              cell: ({ replica, id, transaction }) => (
                <button
                  type="button"
                  class="link"
                  aria-pressed={chosen?.replica === replica && chosen.id === id}
                  onClick={() => choose({ replica, id })}
                >
                  {transaction}
                </button>
              ),
            },
            { title: 'kept by', cell: ({ replica, id }) => `${replica}, number ${id}` },
            {
              title: 'state',
              cell: ({ state, reappliedAs }) => `${state}${reappliedAs ? ` as ${reappliedAs}` : ''}`,
            },
            { title: 'changes', align: 'right', cell: ({ changes }) => changes },
            {
              title: 'tables',
              cell: ({ tables, moreTables = 0 }) =>
                tables.join(', ') + (moreTables > 0 ? `, … ${moreTables} more` : ''),
            },
            { title: 'written', cell: ({ time }) => <time>{dateAndTime(time / 1000)}</time> },
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

function Detail({ chosen: { replica, id }, version, changed }: DetailProps) {
  const path = `/v1/cluster/rescue?replica=${encodeURIComponent(replica)}&id=${id}`;
  const { answer, again } = useAnswer<RescueDetail>(path, version);
  const [conflicts, setConflicts] = useState<Reapplied['conflicts']>([]);
  const { value } = answer;
  const refresh = (): void => {
    again();
    changed();
  };
  if (value === undefined)
    return (
      <Panel title={`Transaction ${id} of ${replica}`}>
        {answer.state === 'failed' ? (
          <Failed message={answer.message} retry={again} />
        ) : (
          <Loading what="its rows" />
        )}
      </Panel>
    );
  const actions = value.state === 'kept' && (
    <>
      <Action
        label="Write again"
        question={() => reapply(value, conflicts.length > 0, setConflicts, refresh)}
      />
      <Action label="Dismiss" question={() => dismiss(value, refresh)} />
    </>
  );
  return (
    <Panel
      title={`${value.transaction}, number ${id} of ${replica}`}
      about={`${counted(value.changes, 'change')}; ${value.state}. “Now” is the row in the database of ${replica}.`}
      actions={actions}
    >
      {value.shown.map((change, index) => (
        <Versions key={index} change={change} />
      ))}
      {value.more && (
        <p class="quiet">
          There are more changes: <code>antiphon rescue export {id}</code> has all.
        </p>
      )}
      {conflicts.length > 0 && <InTheWay conflicts={conflicts} />}
    </Panel>
  );
}

function InTheWay({ conflicts }: { readonly conflicts: Reapplied['conflicts'] }) {
  return (
    <section aria-label="Rows in the way">
      <h3>In the way</h3>
      <p>
        On the primary, these rows are neither as before the transaction nor as after it. Nothing was written.
      </p>
      {conflicts.map((conflict, index) => (
        <Versions key={index} change={{ ...conflict, op: 'update' } satisfies RescuedChange} />
      ))}
    </section>
  );
}

function reapply(
  { replica, id, transaction, changes }: RescueDetail,
  force: boolean,
  onConflicts: (conflicts: Reapplied['conflicts']) => void,
  done: () => void,
): Question {
  const over =
    'Rows that others have changed since are replaced by what this transaction made of them. Never do that where two rows happen to have one key.';
  return {
    title: force ? `Write ${transaction} over the rows that are in the way?` : `Write ${transaction} again?`,
    says: [
      `Its ${counted(changes, 'change')} ${changes === 1 ? 'is' : 'are'} written on the primary, as one ordinary transaction.`,
      force
        ? over
        : 'If a row is neither as before it nor as after it, nothing is written, and the row is shown.',
    ],
    verb: force ? 'Write over them' : 'Write it again',
    isDangerous: force,
    run: async () => {
      const answer = await postJson<Reapplied>('/v1/admin/rescue/reapply', { replica, id, force });
      onConflicts(answer.conflicts);
      done();
      return outcomeOf(answer);
    },
  };
}

function outcomeOf({ outcome, transaction = '', written, conflicting, primary, earlier }: Reapplied): string {
  const before =
    earlier.length === 0 ? '' : ` Earlier ones changed some of the same rows: ${earlier.join(', ')}.`;
  const said = {
    reapplied: `It is ${transaction} on ${primary} now: ${counted(written, 'row')} written.`,
    present: 'Its rows were already what it had made of them. Nothing was written.',
    done: `It was written again before, as ${transaction}. Nothing was written now.`,
    conflicts: `${counted(conflicting, 'row')} on ${primary} in the way. Nothing was written.`,
  };
  return said[outcome] + before;
}

function dismiss({ replica, id, transaction }: RescueDetail, done: () => void): Question {
  return {
    title: `Dismiss ${transaction}?`,
    says: [
      `Nobody needs it: ${replica} does not remind anybody of it any more.`,
      'Its changes stay readable in the ledger. They are not written again.',
    ],
    verb: 'Dismiss it',
    isDangerous: true,
    run: async () => {
      await postJson('/v1/admin/rescue/dismiss', { replica, id });
      done();
      return `${transaction} is dismissed.`;
    },
  };
}
