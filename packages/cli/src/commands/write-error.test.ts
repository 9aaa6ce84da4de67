import { AntiphonError } from '@antiphon/core';
import { unknownRequest } from '@antiphon/replica/internal';
import { describe, expect, it } from 'vitest';
import { explainWriteError } from './write-error.js';

const answered = { remoteCode: 'x' };
const explain = (error: AntiphonError): AntiphonError => explainWriteError(error, 'eu-1', 'npx antiphon');

describe('explainWriteError', () => {
  it('I8: a conflict says that nothing was written', () => {
    const error = explain(new AntiphonError('CONFLICT', 'eu-2:7 was first', { context: answered }));
    expect(error).toMatchObject({ code: 'CONFLICT', retriable: true });
    expect(error.message).toBe('eu-2:7 was first. Nothing was written. Run the same command again.');
  });

  it('I8: an unknown outcome has the command that tells', () => {
    const context = { ...answered, id: 'eu-1:42~x7Kq' };
    const error = explain(new AntiphonError('OUTCOME_UNKNOWN', 'no answer of the log.', { context }));
    expect(error.context).toMatchObject({ id: 'eu-1:42~x7Kq', replica: 'eu-1' });
    expect(error.message).toContain("npx antiphon outcome 'eu-1:42~x7Kq'");
  });

  it.each(['TIMEOUT', 'ABORTED', 'LOG_UNAVAILABLE'] as const)(
    'I8: no answer is an unknown outcome, a %s that the replica answered is none',
    (code) => {
      const error = explain(new AntiphonError(code, 'late'));
      expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', retriable: false });
      expect(error.context['id']).toBeUndefined();
      const verdict = new AntiphonError(code, 'late', { context: answered });
      expect(explain(verdict)).toBe(verdict);
    },
  );

  it('I8: of a request it says how to find out, and that it may be run again, each once', () => {
    const error = explain(unknownRequest('eu-1 is gone, and has not answered.', 'order-7'));
    expect(error).toMatchObject({ code: 'OUTCOME_UNKNOWN', context: { id: 'order-7' } });
    expect(error.message).toBe(
      'eu-1 is gone, and has not answered. The write may or may not be committed. To find out, run ' +
        "`npx antiphon outcome 'order-7'`. To try again, run the same command with `--request-id 'order-7'`: " +
        'what is committed is not written again.',
    );
  });

  it('I8: no answer says how to find out, and not what helps whoever reads: to call again', () => {
    const what = 'No answer from antiphon.shop.replica.eu-1.execute within 10000 ms';
    const error = explain(new AntiphonError('TIMEOUT', `${what}. Call again.`));
    expect(error.message).toBe(
      `eu-1 did not answer (${what}), and may or may not have committed the write. ` +
        'See with `npx antiphon query` whether it is there before you run it again.',
    );
  });

  it('I8: a replica that stopped while it worked on the write does not know either', () => {
    const stopped = (started: boolean): AntiphonError =>
      explain(new AntiphonError('ACTOR_STOPPED', 'gone', { context: { ...answered, started } }));
    expect([true, false].map((started) => stopped(started).code)).toEqual([
      'OUTCOME_UNKNOWN',
      'ACTOR_STOPPED',
    ]);
  });

  it('what was never sent is not unknown', () => {
    expect(explain(new AntiphonError('NO_ACTOR', 'away')).code).toBe('NO_ACTOR');
  });
});
