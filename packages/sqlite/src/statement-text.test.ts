import { describe, expect, it } from 'vitest';
import { NamedParameters } from './driver/driver.js';
import { orderParameters, readStatementText } from './statement-text.js';

describe('the text of a statement', () => {
  it.each([
    ['SELECT 1', []],
    ['SELECT ?, ?', [undefined, undefined]],
    ['SELECT :a, @b, $c, :a', [':a', '@b', '$c']],
    ['SELECT ?3, :a, ?1', ['?1', undefined, '?3', ':a']],
    [`SELECT '?', "?", \`?\`, [?], ? -- ?\n/* ? */`, [undefined]],
    [`SELECT 'it''s ?', "a""?", ?`, [undefined]],
    ['SELECT a$b, x1y FROM t WHERE b=:_ü1', [':_ü1']],
    ['SELECT a->?, b->>$x::y', [undefined, '$x::y']],
    ['SELECT 1 /* ? unclosed', []],
    ['SELECT ?99999999999', []],
  ])('%s has the parameters %j', (sql, parameters) => {
    expect(readStatementText(sql).parameters).toEqual(parameters);
  });

  it.each(['SELECT 1;', 'SELECT 1 ; ; -- and a comment', '/* x */ SELECT 1; /* y */', `SELECT ';'; `])(
    '%s is one statement',
    (sql) => expect(readStatementText(sql)).toMatchObject({ single: true, firstWord: 'SELECT' }),
  );

  it.each(['SELECT 1; SELECT 2', 'SELECT 1;;x', `SELECT ';' ; 'x'`])('%s is more than one', (sql) => {
    expect(readStatementText(sql).single).toBe(false);
  });

  it('refuses what is not text, and text with a NUL', () => {
    expect(() => readStatementText('SELECT 1\0 SELECT 2')).toThrow(/NUL/);
    expect(() => readStatementText('SELECT ?1, ?')).toThrow(/cannot be mixed/);
    expect(() => readStatementText(1 as unknown as string)).toThrow(/must be a string/);
  });

  const order = (sql: string, given: Parameters<typeof orderParameters>[1]): unknown =>
    orderParameters(readStatementText(sql), given, sql);

  it('gives lists by place, objects by name', () => {
    expect(order('SELECT ?, ?', [1, 'x'])).toEqual([1n, 'x']);
    expect(order('SELECT :a, $b', { a: 1, b: true, other: 1 })).toEqual([
      new NamedParameters({ ':a': 1n, $b: 1n }),
    ]);
    expect(order('SELECT ?3, ?1', ['x', 'y', 'z'])).toEqual([new NamedParameters({ '?1': 'x', '?3': 'z' })]);
    expect(order('SELECT 1', {})).toEqual([]);
  });

  it.each([
    ['SELECT ?, ?', [1], /too few parameters: 1 for 2 places\. Statement: SELECT/],
    ['SELECT ?', [1, 2], /too many parameters: 2 for 1 places/],
    ['SELECT 1', [1], /too many/],
    ['SELECT :a', [1], /The parameter :a has a name/],
    ['SELECT :a', { b: 1 }, /The parameter :a has no value/],
    ['SELECT :constructor', {}, /has no value/],
    ['SELECT 1', { integers: 'number' }, /has no parameters, and "integers" was given/],
    ['SELECT 1', null as unknown as readonly unknown[], /Parameters are a list, or an object/],
    ['SELECT :a, ?', { a: 1 }, /needs an array/],
    ['SELECT ?', [undefined], /undefined \(use null\)/],
    ['SELECT ?', [new Date(0)], /cannot be a Date\. Give its `toISOString\(\)`/],
  ])('%s with %j is refused', (sql, given, message) => {
    expect(() => order(sql, given)).toThrow(message);
  });
});
