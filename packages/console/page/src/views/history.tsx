import type { Candidate, Candidates, Epochs, Picture } from '../data/cluster.js';
import { newestEpoch } from '../model/happenings.js';
import { dateAndTime, lasting, sentence, whole } from '../model/format.js';
import { Action } from '../parts/confirmation.js';
import { Empty, Failed, Loading, Panel } from '../parts/panel.js';
import { Prose } from '../parts/prose.js';
import { Table } from '../parts/table.js';
import { useAnswer } from '../parts/use-answer.js';
import { failoverTo } from './failover.js';
import { switchoverTo } from './switchover.js';

/** Who was the primary, and who would be next. */
export function HistoryView({ picture }: { readonly picture: Picture }) {
  // Another epoch, or somebody who has come or gone.
  const answering = picture.members.map(({ id, status }) => `${id} ${status === undefined}`);
  const version = `${newestEpoch(picture)?.number} ${answering.join()}`;
  return (
    <>
      <Past version={version} />
      <Next version={version} picture={picture} />
    </>
  );
}

function Past({ version }: { readonly version: string }) {
  const { answer, again } = useAnswer<Epochs>('/v1/cluster/epochs', version);
  const { value } = answer;
  const about = value && `Every epoch, as ${value.seenBy} has read it in the log.`;
  return (
    <Panel title="History of roles" about={about}>
      {answer.state === 'failed' && <Failed message={answer.message} retry={again} />}
      {answer.state === 'loading' && value === undefined && <Loading what="the history" />}
      {value && (
        <Table
          caption="Epochs, the newest first"
          rows={[...value.epochs].reverse()}
          keyOf={({ number }) => number}
          columns={[
            { title: 'epoch', align: 'right', isName: true, cell: ({ number }) => number },
            {
              title: 'primary',
              cell: ({ primary }) => <span class="unbroken">{primary ?? 'every member'}</span>,
            },
            { title: 'since entry', align: 'right', cell: ({ seq }) => whole(seq) },
            { title: 'why', cell: ({ began }) => began?.why ?? 'first' },
            { title: 'by', cell: ({ began }) => <span class="unbroken">{began?.by ?? ''}</span> },
            {
              title: 'at',
              cell: ({ began }) => (began === undefined ? '' : <time>{dateAndTime(began.atMs)}</time>),
            },
            {
              title: 'rescued or never written',
              cell: ({ primary = '', voided }) =>
                voided === undefined
                  ? ''
                  : `${primary}:${voided.from}${voided.to > voided.from ? `–${voided.to}` : ''}`,
            },
          ]}
        />
      )}
    </Panel>
  );
}

const MODES: Readonly<Record<Candidates['failover'], string>> = {
  automatic: 'If the primary failed now, the first of these would take its place by itself.',
  manual:
    'If the primary fails, one of these takes its place when somebody says so: “Fail over to it”, or `antiphon failover ID`.',
  none: 'The cluster was created without failover: nobody takes the place of its primary.',
};

function Next({ version, picture }: { readonly version: string; readonly picture: Picture }) {
  const { answer, again } = useAnswer<Candidates>('/v1/cluster/candidates', version);
  const { value } = answer;
  const refresh = (
    <button type="button" onClick={again}>
      Ask again
    </button>
  );
  return (
    <Panel
      title="Who would be next"
      about={value && <Prose text={MODES[value.failover]} />}
      actions={refresh}
    >
      {answer.state === 'failed' && <Failed message={answer.message} retry={again} />}
      {answer.state === 'loading' && value === undefined && <Loading what="the candidates" />}
      {value?.candidates.length === 0 && <Empty title="Nobody answers" />}
      {value && value.candidates.length > 0 && (
        <CandidateTable candidates={value.candidates} picture={picture} />
      )}
    </Panel>
  );
}

interface CandidateTableProps {
  readonly candidates: readonly Candidate[];
  readonly picture: Picture;
}

function CandidateTable({ candidates, picture: { failover, primary } }: CandidateTableProps) {
  return (
    <Table
      caption="Candidates, the best first"
      rows={candidates}
      keyOf={({ id }) => id}
      columns={[
        { title: 'place', align: 'right', cell: ({ place }) => place ?? '–' },
        { title: 'replica', isName: true, cell: ({ id }) => id },
        { title: 'why', cell: ({ reason }) => <div class="wide">{sentence(reason)}</div> },
        { title: 'priority', align: 'right', cell: ({ priority }) => priority ?? '' },
        { title: 'read up to', align: 'right', cell: ({ seq }) => (seq === undefined ? '' : whole(seq)) },
        { title: 'lag', align: 'right', cell: ({ lagMs }) => (lagMs === undefined ? '' : lasting(lagMs)) },
        {
          ...{ title: 'heard the primary', align: 'right' },
          cell: ({ heardPrimaryMsAgo: ms }) => (ms === undefined ? '' : `${lasting(ms)} ago`),
        },
        {
          title: 'action',
          cell: ({ id, place }) =>
            failover !== undefined &&
            place !== null && (
              <div class="actions">
                <Action label="Make it the primary" question={() => switchoverTo(id, primary)} />
                <Action label="Fail over to it" question={() => failoverTo(id)} />
              </div>
            ),
        },
      ]}
    />
  );
}
