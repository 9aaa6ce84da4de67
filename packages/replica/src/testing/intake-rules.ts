import { DEFAULT_ROW_LIMITS, type IntakeRules } from '@antiphon/core';

export const TABLE = { name: 't', columns: ['id', 'v'], key: [0] };

/** For one table, whose rows `TABLE` describes; the limit of clocks was raised once. */
export const RULES: IntakeRules = {
  schema: {
    version: 1,
    tables: [
      {
        name: 't',
        columns: [
          { name: 'id', declaredType: '' },
          { name: 'v', declaredType: '' },
        ],
        key: [0],
      },
    ],
    ddl: { engine: 'test', statements: [] },
  },
  primary: undefined,
  agreed: [
    { fromSeq: 0, clockRefusalMs: 1000, ...DEFAULT_ROW_LIMITS },
    { fromSeq: 1000, clockRefusalMs: 10_000, ...DEFAULT_ROW_LIMITS },
  ],
  timesDecide: true,
  clockAlarmMs: 100,
};
