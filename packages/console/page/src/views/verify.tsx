import { useState } from 'preact/hooks';
import type { Verified } from '../data/cluster.js';
import { postJson } from '../data/request.js';
import { measured, sentence, timeOfDay, whole } from '../model/format.js';
import { Action, type Question } from '../parts/confirmation.js';
import { Empty, Panel } from '../parts/panel.js';
import { State } from '../parts/state.js';
import { Table } from '../parts/table.js';

interface Taken {
  readonly result: Verified;
  readonly atMs: number;
  readonly tookMs: number;
}

const SHOWN_CHECKSUM = 16;
/** What Antiphon keeps for itself is compared as well. */
const OWN = /^_antiphon/;

/** Do all replicas hold the same rows? */
export function VerifyView() {
  const [taken, setTaken] = useState<Taken | undefined>(undefined);
  const action = <Action label="Compare all replicas" question={() => comparison(setTaken)} />;
  return (
    <Panel
      title="Verify"
      about="Compares checksums of every table on every replica, at the same position of the log."
      actions={action}
    >
      {taken === undefined ? (
        <Empty title="Nothing was compared since this page was opened">
          A checksum reads every row of every table: it takes a while where there are many.
        </Empty>
      ) : (
        <Result taken={taken} />
      )}
    </Panel>
  );
}

function comparison(onTaken: (taken: Taken) => void): Question {
  return {
    title: 'Compare all replicas?',
    says: [
      'Every replica reads all its rows. Writes of the library wait for as long as that takes, at most 5 s at a time; writes of other programs do not.',
      'Nothing is changed. It ends after two minutes.',
    ],
    verb: 'Compare them',
    run: async () => {
      const beganMs = performance.now();
      const result = await postJson<Verified>('/v1/admin/verify', {});
      onTaken({ result, atMs: Date.now(), tookMs: performance.now() - beganMs });
      return SAID[result.outcome];
    },
  };
}

const SAID: Readonly<Record<Verified['outcome'], string>> = {
  equal: 'They hold the same rows.',
  different: 'They do not hold the same rows: see below which differ.',
  unsettled: 'No moment came at which all could be compared. Try again.',
};
const TONES = { equal: 'good', different: 'bad', unsettled: 'busy' } as const;

function Result({ taken: { result, atMs, tookMs } }: { readonly taken: Taken }) {
  const { outcome, reports, absent, differences, reason } = result;
  const rows = Object.entries(reports).flatMap(([id, { tables }]) =>
    tables.filter(({ table }) => !OWN.test(table)).map((one) => ({ id, ...one })),
  );
  rows.sort((a, b) => a.table.localeCompare(b.table) || a.id.localeCompare(b.id));
  const entry = Math.max(0, ...Object.values(reports).map(({ position }) => position.seq));
  return (
    <>
      <p class="result">
        <State tone={TONES[outcome]} word={outcome} /> {SAID[outcome]}
        <span class="quiet">
          {' '}
          At entry {whole(entry)}, {timeOfDay(atMs)}, in {measured(tookMs)}.
        </span>
      </p>
      {reason !== undefined && outcome === 'unsettled' && <p class="warning">{sentence(reason)}</p>}
      {absent.map(({ id, reason: why }) => (
        <p key={id} class="warning">
          {id} was not compared: {sentence(why)}
        </p>
      ))}
      {differences.map(({ table, replicas: [left, right], rows: different, complete }) => (
        <div key={`${table} ${right}`}>
          <h3>
            {table}: {left} and {right} differ
          </h3>
          <ul class="batches">
            {different.map(({ key, kind }, index) => (
              <li key={index}>
                <code>{key.map((value) => JSON.stringify(value)).join(', ')}</code>{' '}
                {kind === 'differs' ? 'differs' : `is only on ${kind === 'only-left' ? left : right}`}
              </li>
            ))}
            {!complete && <li>… there may be more</li>}
          </ul>
        </div>
      ))}
      <Table
        caption="Checksums"
        rows={rows}
        keyOf={({ id, table }) => `${table} ${id}`}
        columns={[
          { title: 'table', isName: true, cell: ({ table }) => table },
          { title: 'replica', cell: ({ id }) => id },
          { title: 'rows', align: 'right', cell: ({ rows: count }) => whole(count) },
          { title: 'SHA-256', cell: ({ checksum }) => <code>{checksum.slice(0, SHOWN_CHECKSUM)}</code> },
        ]}
      />
    </>
  );
}
