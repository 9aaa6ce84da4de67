import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { permissionsOf, type AccessRole, type Permissions } from './permissions.js';

const ROLES: readonly AccessRole[] = ['creator', 'replica', 'reader', 'admin', 'client-reader', 'client'];

/** The table of docs/access.md, read back. */
function documented(): Readonly<Record<string, { publish: string[]; subscribe: string[] }>> {
  const page = readFileSync(new URL('../../../docs/access.md', import.meta.url), 'utf8');
  const found = Object.fromEntries(
    ROLES.map((role) => [role, { publish: [] as string[], subscribe: [] as string[] }]),
  );
  for (const line of page.split('\n')) {
    const cells = line.split('|').map((cell) => cell.trim());
    const subject = /^`([^`]+)`$/.exec(cells[1] ?? '')?.[1];
    if (subject === undefined || cells.length < 10) continue;
    ROLES.forEach((role, index) => {
      const mark = cells[index + 2];
      if (mark === 'pub') found[role]?.publish.push(subject);
      else if (mark === 'sub') found[role]?.subscribe.push(subject);
      else expect(mark).toBe('');
    });
  }
  return found;
}

describe('docs/access.md', () => {
  it.each(ROLES)('lists what %s needs, and nothing else', (role) => {
    const sorted = ({ publish, subscribe }: Permissions): unknown => ({
      publish: [...publish].sort(),
      subscribe: [...subscribe].sort(),
    });
    const { [role]: table } = documented();
    expect(sorted(table!)).toEqual(sorted(permissionsOf(role, 'CLUSTER', { id: 'ID' })));
  });
});

describe('permissionsOf', () => {
  it('needs the id of a replica', () => {
    expect(() => permissionsOf('replica', 'shop')).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    expect(() => permissionsOf('reader', 'no cluster')).toThrow(
      expect.objectContaining({ code: 'BAD_OPTION' }),
    );
  });

  it('adds what a replica needs that publishes changes', () => {
    const plain = permissionsOf('replica', 'shop', { id: 'eu-1' });
    const { publish } = permissionsOf('replica', 'shop', {
      ...{ id: 'eu-1', publish: { subject: 'shop.{table}.{op}', stream: 'SHOP' } },
    });
    expect(publish.filter((subject) => !plain.publish.includes(subject))).toEqual([
      ...[
        'shop.*.*',
        '$JS.API.STREAM.CREATE.SHOP',
        '$JS.API.STREAM.INFO.SHOP',
        '$JS.API.STREAM.MSG.GET.SHOP',
        '$KV.ANTIPHON_shop.published.SHOP',
      ],
    ]);
  });

  it('adds what a replica needs that answers on the subjects of its cluster', () => {
    const plain = permissionsOf('replica', 'shop', { id: 'eu-1' });
    const more = permissionsOf('replica', 'shop', { id: 'eu-1', subjects: true });
    expect(more.publish).toEqual(plain.publish);
    expect(more.subscribe.filter((subject) => !plain.subscribe.includes(subject))).toEqual([
      ...['antiphon.shop.read', 'antiphon.shop.write'],
      ...['$SRV.*', '$SRV.*.antiphon-shop', '$SRV.*.antiphon-shop.eu-1'],
    ]);
  });

  it('lets nobody but a client, a replica and an admin write', () => {
    const writes = (role: AccessRole): boolean =>
      permissionsOf(role, 'shop', { id: 'eu-1' }).publish.some((subject) =>
        /\.write$|\.execute$|replica\.\*\.\*$/.test(subject),
      );
    expect(ROLES.filter(writes)).toEqual(['creator', 'replica', 'admin', 'client']);
  });

  it('follows the prefix of the inbox', () => {
    const { subscribe } = permissionsOf('replica', 'shop', { id: 'eu-1', inboxPrefix: '_INBOX_eu-1' });
    expect(subscribe).toContain('_INBOX_eu-1.>');
    expect(subscribe).not.toContain('_INBOX.>');
  });
});
