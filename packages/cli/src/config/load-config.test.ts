import { AntiphonError } from '@antiphon/core';
import { describe, expect, it } from 'vitest';
import { parseConfig } from './load-config.js';
import { configTemplate } from './template.js';

const VALID = `
cluster: shop
id: eu-1
nats: { servers: nats://127.0.0.1:4222 }
store: { sqlite: { file: ./shop.db } }
topology: { mode: multi-primary }
`;

function problem(text: string, env: NodeJS.ProcessEnv = {}): AntiphonError {
  try {
    parseConfig(text, '/etc/shop/antiphon.yaml', env);
  } catch (error) {
    if (error instanceof AntiphonError) return error;
    throw error;
  }
  throw new Error('expected it to be refused');
}

describe('a valid antiphon.yaml', () => {
  it('is filled in, with the file relative to its own folder', () => {
    expect(parseConfig(VALID, '/etc/shop/antiphon.yaml', {})).toEqual({
      cluster: 'shop',
      id: 'eu-1',
      nats: { servers: ['nats://127.0.0.1:4222'] },
      sqliteFile: '/etc/shop/shop.db',
      sqlite: {},
      topology: { mode: 'multi-primary' },
      update: { mode: 'async', intervalMs: 0 },
      onStall: 'stay',
    });
  });

  it('may set limits as the library does, also from the environment', () => {
    const limits = 'limits: { queryTimeoutMs: 5000, clockRefusalMs: "${REFUSAL}" }\n';
    const config = parseConfig(VALID + limits, 'antiphon.yaml', { REFUSAL: '7200000' });
    expect(config.limits).toEqual({ queryTimeoutMs: 5000, clockRefusalMs: 7_200_000 });
    const blocked = parseConfig(`${VALID}limits: { blockedMs: 5000 }\nonStall: exit\n`, 'antiphon.yaml', {});
    expect(blocked).toMatchObject({ limits: { blockedMs: 5000 }, onStall: 'exit' });
    expect(problem(`${VALID}limits: { queryTimeoutMS: 1 }\n`).message).toMatch(
      /:7: Unknown key "queryTimeoutMS" in limits\. .*queryTimeoutMs/,
    );
    expect(problem(`${VALID}limits: { beatMs: 0 }\n`).message).toMatch(/limits\.beatMs/);
    expect(problem(`${VALID}limits: { beatMs: 3000000000 }\n`).message).toMatch(/limits\.beatMs/);
  });

  it('may publish changes', () => {
    const text = `${VALID}publish: { subject: 'shop.{table}.{op}', retention: { maxAgeMs: 60000 } }\n`;
    const publish = { subject: 'shop.{table}.{op}', retention: { maxAgeMs: 60_000 } };
    expect(parseConfig(text, 'antiphon.yaml', {}).publish).toEqual(publish);
    expect(problem(`${VALID}publish: { subjct: x }\n`).message).toMatch(/Did you mean "subject"/);
    expect(problem(`${VALID}publish: { subject: 'antiphon.{table}' }\n`).message).toMatch(
      /`publish.subject` is "antiphon.\{table\}"/,
    );
  });

  it('may say how the database is used', () => {
    const given = "{ file: ./shop.db, synchronous: full, readers: '${READERS}', busyTimeoutMs: 250 }";
    const config = parseConfig(VALID.replace('{ file: ./shop.db }', given), '/x/a.yaml', { READERS: '4' });
    expect(config).toMatchObject({
      sqliteFile: '/x/shop.db',
      sqlite: { synchronous: 'full', readers: 4, busyTimeoutMs: 250 },
    });
    const wrong = VALID.replace('{ file: ./shop.db }', '{ file: ./shop.db, synchronous: ful }');
    expect(problem(wrong).message).toContain('store.sqlite.synchronous must be "normal" or "full".');
  });

  it('may name tables, several servers, a primary and an interval', () => {
    const config = parseConfig(
      `
cluster: shop
id: eu-1
nats: { servers: [nats://a:4222, nats://b:4222] }
store: { sqlite: { file: /data/shop.db } }
tables: [customers, orders]
topology: { mode: primary-replica, primary: eu-1 }
update: { mode: async, intervalMs: 250 }
`,
      'antiphon.yaml',
      {},
    );
    expect(config).toMatchObject({
      nats: { servers: ['nats://a:4222', 'nats://b:4222'] },
      sqliteFile: '/data/shop.db',
      tables: ['customers', 'orders'],
      topology: { mode: 'primary-replica', primary: 'eu-1' },
      update: { intervalMs: 250 },
    });
  });

  it('may say that the tables are chosen by themselves, and has no other word for them', () => {
    expect(parseConfig(`${VALID}tables: auto\n`, 'antiphon.yaml', {}).tables).toBeUndefined();
    expect(parseConfig(`${VALID}tables: [auto]\n`, 'antiphon.yaml', {}).tables).toEqual(['auto']);
    expect(problem(`${VALID}tables: all\n`).message).toContain('tables must be a list of names, or `auto`');
    expect(problem(`${VALID}tables: []\n`).message).toContain('tables');
  });

  it('is what init writes', () => {
    const servers = 'nats://h:1, nats://i:1';
    const text = configTemplate({ cluster: 'c', id: 'r-1', servers, file: 'a "b".db' });
    expect(parseConfig(text, '/x/antiphon.yaml', {})).toMatchObject({
      id: 'r-1',
      sqliteFile: '/x/a "b".db',
      nats: { servers: ['nats://h:1', 'nats://i:1'] },
    });
  });

  it('expands the environment', () => {
    const text = VALID.replace('eu-1', '${REPLICA}').replace('./shop.db', "'${DIR:-/data}/$$x.db'");
    const config = parseConfig(`${text}update: { mode: async, intervalMs: '\${MS}' }`, 'a.yaml', {
      REPLICA: 'us-1',
      MS: '5',
    });
    expect(config).toMatchObject({ id: 'us-1', sqliteFile: '/data/$x.db', update: { intervalMs: 5 } });
  });

  it('takes an environment value as a value, not as YAML', () => {
    const config = parseConfig(VALID.replace('./shop.db', "'${F}'"), '/x/a.yaml', { F: '/a: [b] # c' });
    expect(config.sqliteFile).toBe('/a: [b] # c');
  });
});

describe('update: { mode: sync }', () => {
  const update = (text: string, env: NodeJS.ProcessEnv = {}): unknown =>
    parseConfig(`${VALID}update: ${text}\n`, 'antiphon.yaml', env).update;
  const defaults = {
    ...{ mode: 'sync', acks: 'all', minInSync: 2 },
    ...{ onShortfall: 'reject', foreignWrites: 'refuse' },
  };

  it('is filled in', () => {
    expect(update('{ mode: sync }')).toEqual(defaults);
    expect(update('{ mode: sync, acks: majority }')).toMatchObject({ acks: 'majority', minInSync: 1 });
  });

  it('takes every choice', () => {
    const text = '{ mode: sync, acks: 2, minInSync: 3, onShortfall: degrade, foreignWrites: async }';
    expect(update(text)).toEqual({
      ...{ mode: 'sync', acks: 2, minInSync: 3 },
      ...{ onShortfall: 'degrade', foreignWrites: 'async' },
    });
  });

  it('takes numbers of the environment', () => {
    const env = { ACKS: '3', LEAST: '2' };
    expect(update("{ mode: sync, acks: '${ACKS}', minInSync: '${LEAST}' }", env)).toMatchObject({
      acks: 3,
      minInSync: 2,
    });
    expect(update("{ mode: '${MODE:-sync}', acks: '${LEVEL:-logged}' }")).toMatchObject({ acks: 'logged' });
  });

  it('is shown in the file that init writes', () => {
    const text = configTemplate({ cluster: 'c', id: 'r-1', servers: 'nats://h:1', file: 'a.db' });
    const sync = text
      .replace('update: { mode: async', '# update: { mode: async')
      .replace('# update: { mode: sync', 'update: { mode: sync');
    expect(parseConfig(sync, 'antiphon.yaml', {}).update).toEqual(defaults);
  });

  it.each([
    [
      '{ mode: sync, intervalMs: 5 }',
      'update.intervalMs needs `mode: async`. With `mode: sync` there is acks,',
    ],
    ['{ mode: async, acks: all }', 'update.acks needs `mode: sync`. With `mode: async` there is intervalMs.'],
    ['{ mode: sync, minInsync: 2 }', 'Unknown key "minInsync" in update. Did you mean "minInSync"?'],
    ['{ mode: sync, acks: majorty }', 'update.acks must be all, majority, logged, local, or a number'],
    ['{ mode: sync, acks: majorty }', 'Did you mean "majority"?'],
    ['{ mode: sync, acks: 0 }', 'update.acks'],
    ['{ mode: sync, acks: 65 }', 'update.acks'],
    ['{ mode: sync, minInSync: two }', 'update.minInSync must be a number'],
    ['{ mode: sync, onShortfall: degraded }', 'update.onShortfall must be "reject" or "degrade"'],
    ['{ mode: sync, foreignWrites: yes }', 'update.foreignWrites must be "refuse" or "async"'],
    ['{ mode: synch }', 'update.mode must be `async` or `sync`'],
    ['{ acks: all }', 'update.mode is missing. Write `async` or `sync`'],
    ['sync', 'update must be a mapping'],
  ])('%s -> %s', (text, message) => {
    const error = problem(`${VALID}update: ${text}\n`);
    expect(error.code).toBe('BAD_OPTION');
    expect(error.message).toContain(message);
    expect(error.message).toContain('antiphon.yaml:7');
  });
});

it.each(['', 'automatic', 'true'])('`failover: %s` gets the form that it has', (text) => {
  const error = problem(`${VALID}failover: ${text}\n`);
  expect(error.message).toMatch(
    /antiphon\.yaml:7: failover must be a mapping\. Write `\{ mode: automatic \}` or `\{ mode: manual \}`\./,
  );
});

describe('what is not valid', () => {
  it.each([
    ['clutser: shop', 'Unknown key "clutser". Did you mean "cluster"?'],
    ['tabels: [a]', 'Unknown key "tabels". Did you mean "tables"?'],
    ['update: { mode: async, interval: 5 }', 'Unknown key "interval" in update. Did you mean "intervalMs"?'],
  ])('an unknown key names the right one: %s', (line, message) => {
    const error = problem(`${VALID}${line}\n`);
    expect(error.code).toBe('BAD_OPTION');
    expect(error.message).toContain(message);
    expect(error.message).toContain('antiphon.yaml:7');
  });

  it.each([
    ['{ mode: multi-primary }', '{ mode: mulit-primary }', 'Did you mean "multi-primary"?'],
    ['{ mode: multi-primary }', 'primary-replica', 'needs the id of its primary'],
    ['{ mode: multi-primary }', 'multi-primary', 'written differently now. Write `{ mode: multi-primary }`.'],
    [
      '{ mode: multi-primary }',
      '{ primary-replica: { primary: eu-1 } }',
      'written differently now. Write `{ mode: primary-replica, primary: eu-1 }`.',
    ],
    [
      '{ mode: multi-primary }',
      '{ mode: primary-replica, primry: eu-1 }',
      'Unknown key "primry" in topology. Did you mean "primary"?',
    ],
    ['{ mode: multi-primary }', '7', 'topology is not valid'],
    ['eu-1', '"../eu"', 'the id of the replica must be 1 to 63 letters'],
    ['eu-1', '[a]', 'id must be text'],
    ['./shop.db', '""', 'store.sqlite.file must not be empty.'],
    ['{ file: ./shop.db }', '{ fiel: ./shop.db }', 'Did you mean "file"?'],
    ['id: eu-1', '', 'id is missing. Name this replica'],
    ['nats://127.0.0.1:4222', '[]', 'nats.servers must be'],
    ['id: eu-1', 'id: eu-1\nlimits: { beatMs: 0 }', 'limits.beatMs must be at least 1.'],
    ['id: eu-1', 'id: eu-1\n---\nid: eu-2', 'antiphon.yaml has several documents. Remove the lines'],
  ])('%s -> %s', (from, to, message) => {
    expect(problem(VALID.replace(from, to)).message).toContain(message);
  });

  it.each([['conflicts: { orders: {} }', '`conflicts` is not in this version']])(
    'what comes later says so: %s',
    (line, message) => {
      expect(problem(`${VALID}${line}\n`).message).toContain(message);
    },
  );

  it.each(['postgres', 'mariadb'])('a %s store comes later', (engine) => {
    const text = VALID.replace('sqlite: { file: ./shop.db }', `${engine}: { url: 'x' }`);
    expect(problem(text).message).toContain(`store.${engine}\` is not in this version`);
  });

  it('names the variable that is not set', () => {
    const error = problem(VALID.replace('eu-1', '${REPLICA_ID}'));
    expect(error.message).toContain('antiphon.yaml:3: id: the environment variable REPLICA_ID is not set');
  });

  it.each([
    ['store: { sqlite: { file: ${F} } }', 'Inside { } and [ ], put ${F} between quotes'],
    ['cluster: [', 'is not valid YAML'],
    ['a: 1\na: 2', 'is not valid YAML'],
    ['', 'is empty'],
    ['just text', 'The file must be a mapping'],
    ['[1, 2]', 'The file must be a mapping'],
    ['cluster: ${', '"${" that names no variable'],
  ])('%j', (text, message) => {
    expect(problem(text).message).toContain(message);
  });

  it('an alias bomb is refused', () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) => `l${i + 1}: &l${i + 1} [${Array(10).fill(`*l${i}`).join(',')}]`,
    );
    expect(problem(['l0: &l0 [x]', ...levels].join('\n')).message).toContain('is not valid YAML');
  });

  it('lists several mistakes with their lines', () => {
    const error = problem('cluster: shop\nid: "!"\ntopology: x\n');
    expect(error.message).toMatch(/has 4 mistakes:\n {2}line 2: .*\n/);
  });
});
