import type { Member, Picture } from '../data/cluster.js';
import { addressOf } from '../data/place.js';
import { conditionOf, isDrained, partOf, syncOf } from '../model/condition.js';
import { bytes, lasting, measured, whole } from '../model/format.js';
import { State } from '../parts/state.js';
import { type Column, Table } from '../parts/table.js';

/** Everybody in one table, as `antiphon status` has it. */
export function Members({ picture }: { readonly picture: Picture }) {
  const sync = syncOf(picture);
  const number = (title: string, of: (status: NonNullable<Member['status']>) => string): Column<Member> => ({
    ...{ title, align: 'right' },
    cell: ({ status }) => (status === undefined ? '' : of(status)),
  });
  const columns: readonly Column<Member>[] = [
    {
      ...{ title: 'replica', isName: true },
      cell: ({ id }) => <a href={addressOf({ view: 'replica', argument: id })}>{id}</a>,
    },
    { title: 'role', cell: (member) => partOf(member, picture) },
    {
      title: 'state',
      cell: (member) => {
        const { tone, word } = conditionOf(member, picture.members);
        const drained = isDrained(member.status) ? ', drained' : '';
        const cut =
          member.status === undefined || member.status.connection === 'connected' ? '' : ', no NATS';
        return <State tone={tone} word={`${word}${drained}${cut}`} />;
      },
    },
    ...(sync === undefined
      ? []
      : [{ title: 'in sync', cell: ({ id }: Member) => (sync.inSync.includes(id) ? 'yes' : 'no') }]),
    number('lag', ({ lag }) => whole(lag.entries)),
    number('unsent', ({ outbox }) => whole(outbox.unpublished + outbox.unsealed)),
    number('log position', ({ position }) => whole(position.seq)),
    number('conflicts', ({ conflicts }) => whole(conflicts)),
    number('quarantined', ({ quarantined }) => whole(quarantined)),
    number('rescued', ({ rescued }) => whole(rescued)),
    number('memory', ({ memoryBytes }) => (memoryBytes === undefined ? '' : bytes(memoryBytes))),
    number('up', ({ nowMs, startedAtMs }) => lasting(nowMs - startedAtMs)),
    {
      ...{ title: 'answered in', align: 'right' },
      cell: ({ id, tookMs }) =>
        id === picture.seenBy ? 'this server' : tookMs === undefined ? '' : measured(tookMs),
    },
  ];
  return <Table caption="Replicas" columns={columns} rows={picture.members} keyOf={({ id }) => id} />;
}
