import type { Picture, Status } from '../data/cluster.js';
import { counted, dateAndTime } from '../model/format.js';
import { Empty, Panel } from '../parts/panel.js';
import { Table } from '../parts/table.js';

type Report = Status['lastConflicts'][number];
interface Seen extends Report {
  readonly by: readonly string[];
}

/** The same conflict is decided on every replica, each by itself and alike. */
export function ConflictsView({ picture }: { readonly picture: Picture }) {
  const counts = picture.members.flatMap(({ id, status }) =>
    status === undefined || status.conflicts === 0 ? [] : [`${id}: ${counted(status.conflicts, 'conflict')}`],
  );
  const rows = conflictsOf(picture);
  return (
    <Panel
      title="Conflicts"
      about="Two replicas changed one row without knowing of each other. The last writer won, and the other change is lost."
    >
      {counts.length > 0 && (
        <p class="quiet">Counted by each replica since its database joined: {counts.join(', ')}.</p>
      )}
      {rows.length === 0 ? (
        <Empty
          title={counts.length === 0 ? 'There was none' : 'There was none since the replicas were started'}
        >
          Each replica keeps the last 16 reports for as long as it runs. docs/several-writers.md says how to
          have none.
        </Empty>
      ) : (
        <Table
          caption="The last conflicts, the newest first"
          rows={rows}
          keyOf={({ table, key, atMs }) => `${table} ${key.join()} ${atMs}`}
          columns={[
            { title: 'decided', cell: ({ atMs }) => <time>{dateAndTime(atMs)}</time> },
            { title: 'table', isName: true, cell: ({ table }) => table },
            { title: 'key', cell: ({ key }) => <code>{key.join(', ')}</code> },
            { title: 'stays', cell: ({ winner }) => <span class="wins">the change of {winner}</span> },
            { title: 'lost', cell: ({ loser }) => <span class="loses">the change of {loser}</span> },
            { title: 'seen by', cell: ({ by }) => by.join(', ') },
          ]}
        />
      )}
    </Panel>
  );
}

/** Reports of one conflict come within moments from all replicas. */
const SAME_MS = 5000;

function conflictsOf({ members }: Picture): readonly Seen[] {
  const all = members.flatMap(({ id, status }) => (status?.lastConflicts ?? []).map((one) => ({ id, one })));
  all.sort((a, b) => a.one.atMs - b.one.atMs);
  const seen: (Report & { by: string[] })[] = [];
  for (const { id, one } of all) {
    const same = seen.find((earlier) => isSame(earlier, one) && !earlier.by.includes(id));
    if (same === undefined) seen.push({ ...one, by: [id] });
    else same.by.push(id);
  }
  return seen.reverse();
}

function isSame(one: Report, other: Report): boolean {
  return (
    one.table === other.table &&
    one.key.join() === other.key.join() &&
    one.winner === other.winner &&
    one.loser === other.loser &&
    Math.abs(one.atMs - other.atMs) < SAME_MS
  );
}
