import { systemClock } from '@antiphon/core';
import { memoryLog } from '@antiphon/testing';
import { expect, it } from 'vitest';
import { assertHolds } from './testimony.js';
import { VerifiedLog } from './verified-log.js';

it('I14: nobody vouches for a log that does not hold what is known here', async () => {
  const clock = systemClock();
  const log = new VerifiedLog(memoryLog({ clock }).connect(), clock);
  await log.open({ create: true });
  for (const id of ['of another history', 'behind it'])
    await new Promise((settled) => log.append({ origin: '_barrier', id, data: new Uint8Array(1) }, settled));
  const lost = { seq: 1, storedAtMs: 1 };
  const here = new VerifiedLog(log, clock);
  here.note(lost);
  const { storedAtMs = 0 } = (await log.get(2)) ?? {};
  await assertHolds(
    { log: here, clock },
    { id: 'b', entry: { seq: 2, storedAtMs } },
    AbortSignal.timeout(5000),
  );
  expect(here.known).toEqual(lost);
  await expect(here.verify()).rejects.toMatchObject({ code: 'LOG_REPLACED' });
});
