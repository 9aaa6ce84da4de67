import { appendFileSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { tailOfLog } from './log-tail.js';

const dir = mkdtempSync(join(tmpdir(), 'antiphon-log-'));
const file = join(dir, 'server.log');
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe('tail of a log', () => {
  it('has only what was written after the offset, and of that the last lines', () => {
    writeFileSync(file, 'old\n');
    appendFileSync(file, 'one\ntwo\n\nthree\n');
    expect(tailOfLog(file, 4, 10)).toEqual(['one', 'two', 'three']);
    expect(tailOfLog(file, 4, 2)).toEqual(['two', 'three']);
  });

  it('leaves out decoration', () => {
    const banner = [
      String.raw`[1] 2026/11/23 11:57:02.353296 [INF]     _ ___ _____ ___ _____ ___ ___   _   __  __`,
      String.raw`[1] 2026/11/23 11:57:02.353297 [INF]  _ | | __|_   _/ __|_   _| _ \ __| /_\ |  \/  |`,
      String.raw`[1] 2026/11/23 11:57:02.353300 [INF]  \__/|___| |_| |___/ |_| |_|_\___/_/ \_\_|  |_|`,
      '[1] 2026/11/23 11:57:02.353304 [INF] ',
      '[1] 2026/11/23 11:57:02.353313 [INF] -------------------------------------------',
    ];
    const said = [
      '[1] 2026/11/23 11:57:02.353304 [INF]   Store Directory: "/var/a__b/jetstream"',
      '[1] 2026/11/23 11:57:02.353305 [INF] Listening for client connections on 127.0.0.1:4222',
    ];
    writeFileSync(file, [...banner, ...said].join('\n'));
    expect(tailOfLog(file, 0, 20)).toEqual(said);
  });

  it('is all of a log that was rotated, and nothing of one that is missing', () => {
    writeFileSync(file, 'a long first line\n');
    truncateSync(file, 0);
    appendFileSync(file, 'new\n');
    expect(tailOfLog(file, 18, 10)).toEqual(['new']);
    expect(tailOfLog(join(dir, 'none'), 0, 10)).toEqual([]);
  });
});
