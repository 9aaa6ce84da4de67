import type { ClusterSchema, InspectedTable } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { contentDifference } from './content-difference.js';

const table = (name: string, columns: string, key = [0]) => ({
  name,
  columns: columns.split(' ').map((column) => ({ name: column, declaredType: '' })),
  key,
});
const found = (name: string, columns: string, rowCount = 0, key = [0]): InspectedTable => ({
  schema: table(name, columns, key),
  rowCount,
});
const schema: ClusterSchema = {
  version: 1,
  tables: [table('a', 'id v'), table('b', 'id')],
  ddl: { engine: 'test', statements: [] },
};

describe('contentDifference', () => {
  it('lets an empty database join, and one with the same empty tables', () => {
    expect(contentDifference([], schema, false)).toEqual([]);
    expect(contentDifference([found('a', 'id v')], schema, false)).toEqual([]);
  });

  it('explains rows, tables, columns and keys that differ', () => {
    const differences = contentDifference([found('a', 'id w', 3), found('c', 'id', 7)], schema, false);
    expect(differences.join('\n')).toBe(
      [
        'table a: columns only here: w; columns only in the cluster: v',
        'table a has 3 rows here already',
        'table c (7 rows) is only here',
        'table b is only in the cluster',
      ].join('\n'),
    );
    expect(contentDifference([found('a', 'id v', 0, [1])], schema, false)[0]).toContain(
      'primary key (v) here, (id)',
    );
  });

  it('does not mind other tables when the tables were named', () => {
    expect(contentDifference([found('c', 'id', 7)], schema, true)).toEqual([]);
  });
});
