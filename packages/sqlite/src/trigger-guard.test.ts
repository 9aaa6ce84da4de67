import { describe, expect, it } from 'vitest';
import { guardTrigger, NOT_APPLYING, tokenize } from './trigger-guard.js';

describe('guarding triggers', () => {
  it.each([
    [
      'CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1; END',
      `CREATE TRIGGER a AFTER INSERT ON t\nWHEN ${NOT_APPLYING}\nBEGIN SELECT 1; END`,
    ],
    [
      'CREATE TRIGGER a DELETE ON t FOR EACH ROW BEGIN DELETE FROM x; END',
      `CREATE TRIGGER a DELETE ON t FOR EACH ROW\nWHEN ${NOT_APPLYING}\nBEGIN DELETE FROM x; END`,
    ],
    [
      'CREATE TRIGGER a BEFORE UPDATE OF b, "c d" ON t WHEN NEW.b > 1 OR 0 BEGIN SELECT 1; END',
      `CREATE TRIGGER a BEFORE UPDATE OF b, "c d" ON t\nWHEN ${NOT_APPLYING} AND (NEW.b > 1 OR 0\n)\nBEGIN SELECT 1; END`,
    ],
    [
      'CREATE TRIGGER begin AFTER UPDATE OF begin ON begin WHEN NEW.begin BEGIN INSERT INTO begin VALUES (1); END',
      `CREATE TRIGGER begin AFTER UPDATE OF begin ON begin\nWHEN ${NOT_APPLYING} AND (NEW.begin\n)\nBEGIN INSERT INTO begin VALUES (1); END`,
    ],
    [
      `CREATE TRIGGER a AFTER INSERT ON t WHEN 'x'' BEGIN DELETE' <> "BEGIN" -- BEGIN SELECT\n BEGIN WITH y AS (SELECT 1) INSERT INTO z SELECT * FROM y; END`,
      `CREATE TRIGGER a AFTER INSERT ON t\nWHEN ${NOT_APPLYING} AND ('x'' BEGIN DELETE' <> "BEGIN" -- BEGIN SELECT\n)\nBEGIN WITH y AS (SELECT 1) INSERT INTO z SELECT * FROM y; END`,
    ],
    [
      'CREATE TRIGGER main.a AFTER /* ON x */ INSERT ON main."t" BEGIN SELECT 1; END',
      `CREATE TRIGGER main.a AFTER /* ON x */ INSERT ON main."t"\nWHEN ${NOT_APPLYING}\nBEGIN SELECT 1; END`,
    ],
  ])('%s', (sql, guarded) => {
    expect(guardTrigger(sql)).toBe(guarded);
  });

  it('gives up on what it does not understand', () => {
    for (const sql of [
      'CREATE TRIGGER a INSTEAD OF INSERT ON v BEGIN SELECT 1; END',
      'CREATE TRIGGER a AFTER INSERT BEGIN SELECT 1; END',
      'CREATE TRIGGER a AFTER INSERT ON t WHEN 1',
      '',
    ]) {
      expect(guardTrigger(sql)).toBeUndefined();
    }
  });

  it('tokenizes text that never ends', () => {
    for (const sql of [`'`, '"', '[', '`', '/*', '--', `'a''`]) expect(() => tokenize(sql)).not.toThrow();
  });
});
