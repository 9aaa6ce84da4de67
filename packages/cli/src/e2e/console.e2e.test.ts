import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectNats } from '@antiphon/nats';
import { NatsServer } from '@antiphon/nats-server';
import { eventually } from '@antiphon/testing';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, PATIENCE_MS, RunningCommand, sqlite3, temporaryFolder } from './antiphon.js';
import {
  CHROMIUM,
  DESKTOP,
  launch,
  NO_CHROMIUM,
  overflow,
  PHONE,
  seriousFaults,
  WatchedPage,
} from './browser.js';

const VIEWS = ['overview', 'replica/eu-2', 'conflicts', 'rescue', 'quarantine', 'history', 'verify', 'query'];
const SECRET = 'a-token-of-an-operator';
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

let folder: ReturnType<typeof temporaryFolder>;
let nats: NatsServer;
let browser: Browser;
const running = new Map<string, RunningCommand>();
const ports = new Map<string, number>();

const SHOP = `cluster: shop
topology: { mode: primary-replica, primary: eu-1 }
failover: { mode: automatic }
`;
/** What is written is sent after two seconds: until then, the other one writes as well. */
const PEERS = `cluster: peers
topology: { mode: multi-primary }
update: { mode: async, intervalMs: 2000 }
`;

async function run(id: string, cluster = SHOP): Promise<RunningCommand> {
  const port = ports.get(id) ?? (await freePort());
  ports.set(id, port);
  const tokens = id === 'eu-3' ? `, tokens: [{ name: op, role: read, sha256: ${sha256(SECRET)} }]` : '';
  const config = `${cluster}id: ${id}
nats: { servers: ${nats.url} }
store: { sqlite: { file: ./${id}.db } }
http: { listen: 127.0.0.1:${port}${tokens} }
`;
  writeFileSync(join(folder.path, `${id}.yaml`), config);
  const command = new RunningCommand(['run', '--config', `${id}.yaml`], { cwd: folder.path });
  running.set(id, command);
  await command.says('answers over HTTP');
  return command;
}

const urlOf = (id: string): string => `http://127.0.0.1:${ports.get(id)}/`;
const file = (id: string): string => join(folder.path, `${id}.db`);
const open = (id: string, options = {}): Promise<WatchedPage> =>
  WatchedPage.open(browser, urlOf(id), options);

const SHOP_IDS = ['eu-1', 'eu-2', 'eu-3'];

/** The one that takes writes, as its probe says. */
function primary(): Promise<string> {
  const takesWrites = async (id: string): Promise<boolean> =>
    (await fetch(`${urlOf(id)}primary`).catch(() => undefined))?.status === 200;
  return eventually(
    'there is a primary',
    async () => {
      const answers = await Promise.all(SHOP_IDS.map(takesWrites));
      return SHOP_IDS.find((_, index) => answers[index]);
    },
    { timeoutMs: PATIENCE_MS },
  );
}

async function handOverTo(to: string): Promise<void> {
  if ((await primary()) !== to) {
    const headers = { 'content-type': 'application/json' };
    const options = { method: 'POST', headers, body: JSON.stringify({ to }) };
    const answer = await fetch(`${urlOf('eu-2')}v1/admin/switchover`, options);
    expect(answer.status, await answer.text()).toBe(200);
  }
  await eventually('it takes writes', async () => (await primary()) === to, { timeoutMs: PATIENCE_MS });
}

describe.skipIf(CHROMIUM === undefined)(
  `the console${CHROMIUM === undefined ? `: ${NO_CHROMIUM}` : ''}`,
  () => {
    beforeAll(async () => {
      folder = temporaryFolder();
      nats = await NatsServer.start({ storeDir: join(folder.path, 'nats') });
      sqlite3(
        file('eu-1'),
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT); INSERT INTO orders VALUES (1, 'new')",
      );
      [browser] = await Promise.all([launch(), run('eu-1')]);
      await Promise.all([run('eu-2'), run('eu-3')]);
    }, PATIENCE_MS);

    afterAll(async () => {
      await browser?.close();
      for (const { child } of running.values()) if (child.exitCode === null) child.kill('SIGKILL');
      await nats?.stop();
      folder?.remove();
    });

    it('shows a cluster that is well, and every view of it to everybody', async () => {
      const looks = [
        { name: 'desktop-light', viewport: DESKTOP, colorScheme: 'light', views: VIEWS },
        { name: 'phone-dark', viewport: PHONE, colorScheme: 'dark', views: VIEWS },
        { name: 'desktop-dark', viewport: DESKTOP, colorScheme: 'dark', views: ['overview', 'query'] },
        { name: 'phone-light', viewport: PHONE, colorScheme: 'light', views: ['overview', 'query'] },
      ] as const;
      for (const { name, views, ...look } of looks) {
        const shown = await open('eu-2', look);
        const { page } = shown;
        await page.getByText('All is well').waitFor();
        for (const view of views) {
          await page.goto(`${urlOf('eu-2')}#/${view}`);
          await page.getByRole('heading', { level: 2 }).first().waitFor();
          await eventually('all is read', async () => (await page.locator('.loading').count()) === 0);
          await shown.picture(`${view.replace('/', '-')}-${name}`);
          expect(await seriousFaults(page), `${view}, ${name}`).toEqual([]);
          expect(await overflow(page), `${view} is wider than its window, ${name}`).toBe(0);
        }
        expect(shown.faults).toEqual([]);
        await shown.close();
      }
    });

    it('reads any replica, with its consistency, and says who has answered', async () => {
      const { page, faults, close } = await withClose(open('eu-2'));
      await page.goto(`${urlOf('eu-2')}#/query`);
      await page.getByLabel('Statement').fill('SELECT id, state FROM orders');
      await page.getByLabel('Replica').selectOption('eu-3');
      await page.getByLabel('Consistency').selectOption('bounded');
      await page.getByLabel('At most so old, in ms').fill('2000');
      await page.getByLabel('Statement').press('Control+Enter');
      await page.getByText(/eu-3 answered in .* at entry \d+ of the log: 1 row\./).waitFor();
      expect(await page.getByRole('region', { name: 'Rows' }).locator('td').allTextContents()).toEqual([
        '1',
        'new',
      ]);
      await page.getByLabel('Statement').fill('DELETE FROM orders');
      await page.getByRole('button', { name: 'Run' }).click();
      await page.getByRole('alert').waitFor();
      expect(faults).toEqual([]);
      await close();
    });

    it('keeps a session, which every answer moves on, and never goes back', async () => {
      const shown = await open('eu-2');
      const { page } = shown;
      await page.goto(`${urlOf('eu-2')}#/query`);
      await page.getByLabel('Consistency').selectOption('session');
      await page.getByText('The session has seen nothing yet').waitFor();
      await page.getByLabel('Statement').fill('SELECT count(*) AS n FROM orders');
      await page.getByRole('button', { name: 'Run' }).click();
      await page.getByText(/The session has seen everything up to entry \d+ of the log/).waitFor();
      const asked = page.waitForRequest((request) => request.url().endsWith('/v1/cluster/query'));
      await page.getByLabel('Replica').selectOption('eu-3');
      await page.getByRole('button', { name: 'Run' }).click();
      const body = (await asked).postDataJSON() as Record<string, unknown>;
      expect(body).toMatchObject({
        consistency: 'session',
        replica: 'eu-3',
        after: { seq: expect.any(Number) as number },
      });
      await page.getByText(/eu-3 answered in .* at entry \d+ of the log: 1 row\./).waitFor();
      await shown.picture('session');
      await page.getByRole('button', { name: 'Begin anew' }).click();
      await page.getByText('The session has seen nothing yet').waitFor();
      expect(shown.faults).toEqual([]);
      await shown.close();
    });

    it('fails over by hand: it says first what may be lost, and asks', async () => {
      const shown = await open('eu-2');
      const { page } = shown;
      await page.goto(`${urlOf('eu-2')}#/replica/eu-2`);
      await page.getByRole('button', { name: 'Fail over to it' }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByText('eu-2 becomes the primary of shop, in place of eu-1.').waitFor();
      await dialog.getByText(/goes to its rescue ledger: \d+ transactions? now/).waitFor();
      await dialog.getByText(/eu-1 still answers: .* loses nothing/).waitFor();
      await shown.picture('failover-asks');
      expect(await seriousFaults(page)).toEqual([]);
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      await dialog.waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Fail over to it' }).click();
      await page.getByRole('dialog').getByRole('button', { name: 'Fail over' }).click();
      await page.getByText(/eu-2 is the primary, in epoch \d+, since entry \d+ of the log\./).waitFor();
      await page.getByRole('button', { name: 'Close' }).click();
      await page.goto(`${urlOf('eu-2')}#/replica/eu-1`);
      await page.getByRole('button', { name: 'Make it the primary' }).click();
      await page.getByRole('button', { name: 'Hand over' }).click();
      await page.getByText(/eu-1 is the primary, in epoch \d+\. Writes waited for/).waitFor();
      await page.getByRole('button', { name: 'Close' }).click();
      expect(shown.faults).toEqual([]);
      await shown.close();
    });

    it('acts only when it is confirmed, and says what has come of it', async () => {
      const { page, faults, close } = await withClose(open('eu-2'));
      await page.goto(`${urlOf('eu-2')}#/replica/eu-3`);
      await page.getByRole('button', { name: 'Drain' }).click();
      await page.getByRole('dialog').getByText('send no new ones to eu-3').waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Drain' }).click();
      await page.getByRole('button', { name: 'Drain it' }).click();
      await page.getByText('eu-3 is drained.').first().waitFor();
      await page.getByRole('button', { name: 'Close' }).click();
      await page.getByRole('button', { name: 'Resume' }).click();
      await page.getByRole('button', { name: 'Resume it' }).click();
      await page.getByText('eu-3 takes reads again.').first().waitFor();
      await page.getByRole('button', { name: 'Close' }).click();
      await page.goto(`${urlOf('eu-2')}#/verify`);
      await page.getByRole('button', { name: 'Compare all replicas' }).click();
      await page.getByRole('button', { name: 'Compare them' }).click();
      await page.getByRole('dialog').getByText('They hold the same rows.').waitFor();
      expect(faults).toEqual([]);
      await close();
    });

    it('shows what is quarantined, and discards it', async () => {
      const connection = await connectNats({ servers: [nats.url] });
      const log = connection.log('shop');
      await log.open({ create: false });
      const data = Buffer.from('nonsense');
      await new Promise<void>((resolve) =>
        log.append({ origin: 'stranger', id: 's1', data }, () => resolve()),
      );
      await connection.close();
      const { page, faults, close } = await withClose(open('eu-2'));
      await page.goto(`${urlOf('eu-2')}#/quarantine`);
      const list = page.getByRole('region', { name: 'Quarantined messages' });
      await list
        .getByRole('row', { name: /eu-2 stranger UNKNOWN_ORIGIN/ })
        .getByRole('button')
        .click();
      await page.getByText('It cannot be read').waitFor();
      expect(await seriousFaults(page)).toEqual([]);
      await page.getByRole('button', { name: 'Discard' }).click();
      await page.getByRole('button', { name: 'Discard it' }).click();
      await page.getByText('1 message discarded.').waitFor();
      await page.getByRole('button', { name: 'Close' }).click();
      await list.getByRole('row', { name: /eu-2 stranger/ }).waitFor({ state: 'detached' });
      expect(faults).toEqual([]);
      await close();
    });

    it('wants a token where there are some, keeps none longer than the tab, and acts for an admin only', async () => {
      const { page, close } = await withClose(open('eu-3'));
      await page.getByText('This console needs a token').waitFor();
      expect(await seriousFaults(page)).toEqual([]);
      await page.getByLabel('Token').fill('a-guess');
      await page.getByRole('button', { name: 'Open' }).click();
      await page.getByText('This token is not known here').waitFor();
      await page.getByLabel('Token').fill(SECRET);
      await page.getByRole('button', { name: 'Open' }).click();
      await page.getByText('All is well').waitFor();
      await page.goto(`${urlOf('eu-3')}#/replica/eu-2`);
      expect(await page.getByRole('button', { name: 'Drain' }).isDisabled()).toBe(true);
      expect(await page.context().cookies()).toEqual([]);
      expect(await page.evaluate('JSON.stringify(localStorage)')).not.toContain(SECRET);
      await close();
    });

    it('makes a failover obvious, follows it, and gets back what was lost', async () => {
      const shown = await open('eu-2');
      const { page } = shown;
      await page.getByText('All is well').waitFor();
      const killedMs = performance.now();
      running.get('eu-1')!.child.kill('SIGKILL');
      await page.getByText('The primary, eu-1, does not answer').waitFor({ timeout: 10_000 });
      const noticedMs = performance.now() - killedMs;
      await shown.picture('failover-1-noticed');
      sqlite3(file('eu-1'), "UPDATE orders SET state = 'lost' WHERE id = 1");
      const banner = page.locator('.takeover');
      await banner.getByText(/eu-[23] is the primary in place of eu-1/).waitFor({ timeout: PATIENCE_MS });
      await banner.getByText(/without a primary: epoch \d+, failover/).waitFor();
      await shown.picture('failover-2-taken-over');
      await run('eu-1');
      await page
        .locator('.node', { hasText: 'eu-1' })
        .getByText('following')
        .waitFor({ timeout: PATIENCE_MS });
      await page.getByRole('log').getByText(/eu-1/).waitFor({ state: 'attached' });
      await shown.picture('failover-3-follows');
      expect(await seriousFaults(page)).toEqual([]);
      // A machine that is busy with other tests is slower than the second that it takes.
      expect(noticedMs).toBeLessThan(5000);

      await page.goto(`${urlOf('eu-2')}#/rescue`);
      await page.getByRole('button', { name: /^eu-1:\d+$/ }).click();
      await page.getByText('update in orders').waitFor();
      await shown.picture('rescue-detail');
      expect(await seriousFaults(page)).toEqual([]);
      await page.getByRole('button', { name: 'Write again' }).click();
      await page.getByRole('button', { name: 'Write it again' }).click();
      await page.getByText(/It is eu-[23]:\d+ on eu-[23] now: 1 row written\./).waitFor();
      await eventually(
        'it is back',
        () => sqlite3(file('eu-2'), 'SELECT state FROM orders').stdout === 'lost',
        {
          timeoutMs: PATIENCE_MS,
        },
      );
      await page.getByRole('button', { name: 'Close' }).click();
      await page.getByText('Nothing waits for a decision').waitFor();
      await page.goto(`${urlOf('eu-2')}#/history`);
      await page
        .getByRole('region', { name: 'Epochs, the newest first' })
        .getByText('failover')
        .first()
        .waitFor();
      expect(shown.faults).toEqual([]);
      await shown.close();
    });

    it('asks anew for each entry of a ledger: what is in the way of one forces no other', async () => {
      await handOverTo('eu-1');
      for (const n of [1, 2]) {
        running.get('eu-1')!.child.kill('SIGKILL');
        await running.get('eu-1')!.ended;
        sqlite3(file('eu-1'), `UPDATE orders SET state = 'lost-${n}' WHERE id = 1`);
        const successor = await primary();
        sqlite3(file(successor), `UPDATE orders SET state = 'kept-${n}' WHERE id = 1`);
        await run('eu-1');
        await handOverTo('eu-1');
      }
      const shown = await open('eu-2');
      const { page } = shown;
      await page.goto(`${urlOf('eu-2')}#/rescue`);
      const entries = page.getByRole('button', { name: /^eu-1:\d+$/ });
      await eventually('both are there', async () => (await entries.count()) === 2, {
        timeoutMs: PATIENCE_MS,
      });
      const dialog = page.getByRole('dialog');
      const writeAgain = async (index: number): Promise<unknown> => {
        await entries.nth(index).click();
        await page.getByRole('button', { name: 'Write again' }).click();
        await dialog.getByText('nothing is written, and the row is shown').waitFor();
        const asked = page.waitForRequest((request) => request.url().endsWith('/v1/admin/rescue/reapply'));
        await dialog.getByRole('button', { name: 'Write it again' }).click();
        await dialog.getByText('1 row on eu-1 in the way. Nothing was written.').waitFor();
        await dialog.getByRole('button', { name: 'Close' }).click();
        return (await asked).postDataJSON();
      };
      expect(await writeAgain(0)).toMatchObject({ replica: 'eu-1', force: false });
      await page.getByRole('button', { name: 'Write again' }).click();
      await dialog.getByText(/^Write eu-1:\d+ over the rows that are in the way\?$/).waitFor();
      await dialog.getByRole('button', { name: 'Cancel' }).click();
      expect(await writeAgain(1)).toMatchObject({ replica: 'eu-1', force: false });
      expect(sqlite3(file('eu-1'), 'SELECT state FROM orders').stdout).toBe('kept-2');
      expect(shown.faults).toEqual([]);
      await shown.close();
    });

    it('says that its own replica has gone, and goes on when it is back', async () => {
      const shown = await open('eu-2');
      const { page } = shown;
      await page.locator('.verdict').waitFor();
      running.get('eu-2')!.child.kill('SIGKILL');
      await page.getByText(/The server of eu-2 has not answered since/).waitFor({ timeout: 15_000 });
      expect(await seriousFaults(page)).toEqual([]);
      await page.getByText('How the cluster is, is not known').waitFor();
      await shown.picture('disconnected');
      await run('eu-2');
      await page.getByText(/The server of eu-2 has not answered since/).waitFor({ state: 'detached' });
      expect(shown.faults).toEqual([]);
      await shown.close();
    });

    it('shows replicas that all write, and whose change stays where two have changed one row', async () => {
      const schema =
        "CREATE TABLE stock (sku TEXT PRIMARY KEY, amount INT); INSERT INTO stock VALUES ('A-7', 1)";
      sqlite3(file('p-1'), schema);
      await Promise.all([run('p-1', PEERS), run('p-2', PEERS)]);
      const shown = await open('p-1');
      const { page } = shown;
      await page.getByText('Every replica takes writes.').waitFor();
      await shown.picture('peers');
      const arrived = (): boolean => sqlite3(file('p-2'), 'SELECT amount FROM stock').stdout === '1';
      await eventually('p-2 has the row', arrived, { timeoutMs: PATIENCE_MS });
      sqlite3(file('p-1'), 'UPDATE stock SET amount = 11');
      sqlite3(file('p-2'), 'UPDATE stock SET amount = 12');
      await page.goto(`${urlOf('p-1')}#/conflicts`);
      await page.getByRole('row', { name: /stock A-7 p-[12]:\d+ p-[12]:\d+/ }).waitFor();
      await page.getByRole('row', { name: /amount differs (11 12|12 11) 1[12]$/ }).waitFor();
      await page.getByText(/Neither knew of the other\. p-[12] wrote .* later/).waitFor();
      for (const [name, viewport] of [
        ['conflicts', DESKTOP],
        ['conflicts-phone', PHONE],
      ] as const) {
        await page.setViewportSize(viewport);
        await shown.picture(name);
        expect(await overflow(page)).toBe(0);
      }
      expect(await seriousFaults(page)).toEqual([]);
      expect(shown.faults).toEqual([]);
      await shown.close();
    });
  },
);

async function withClose(opening: Promise<WatchedPage>) {
  const shown = await opening;
  return { page: shown.page, faults: shown.faults, close: () => shown.close() };
}
