import type { PassedEpoch } from '@antiphon/core';
import { formatTable, type Column, type TablePlace } from '../output/table.js';

const COLUMNS: readonly Column[] = [
  { title: 'epoch', align: 'right' },
  { title: 'primary' },
  { title: 'since entry', align: 'right' },
  { title: 'why' },
  { title: 'by' },
  { title: 'at' },
  { title: 'rescued or never written' },
];

/** Every epoch that a replica has passed, the oldest first. */
export function epochsText(epochs: readonly PassedEpoch[], place: TablePlace): string {
  return formatTable(
    COLUMNS,
    epochs.map(({ number, primary = '', seq, began, voided }) => [
      ...[String(number), primary, String(seq), began?.why ?? 'first', began?.by ?? ''],
      began === undefined ? '' : new Date(began.atMs).toISOString(),
      voided === undefined ? '' : range(primary, voided),
    ]),
    place,
  );
}

function range(origin: string, { from, to }: NonNullable<PassedEpoch['voided']>): string {
  return from === to ? `${origin}:${from}` : `${origin}:${from}–${to}`;
}
