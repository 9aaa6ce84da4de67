import { postJson } from '../data/request.js';
import { measured } from '../model/format.js';
import type { Question } from '../parts/confirmation.js';

interface SwitchedOver {
  readonly epoch: number;
  readonly primary: string;
  readonly tookMs: number;
}

export function switchoverTo(to: string, from: string | undefined): Question {
  return {
    title: `Make ${to} the primary?`,
    says: [
      `${from ?? 'The primary'} hands over to ${to}: writes wait until everything that was written is in the log, and go on at ${to}. Nothing is lost.`,
      'What is not done within 10 s is taken back, and the primary stays the primary.',
    ],
    verb: 'Hand over',
    run: async () => {
      const { epoch, primary, tookMs } = await postJson<SwitchedOver>('/v1/admin/switchover', { to });
      return `${primary} is the primary, in epoch ${epoch}. Writes waited for ${measured(tookMs)}.`;
    },
  };
}
