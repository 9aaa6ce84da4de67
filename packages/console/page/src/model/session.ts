import type { SessionPlace } from '../data/cluster.js';

/**
 * What a session has seen after an answer: at least what it had seen before, as the client of the
 * library does it. Another generation is another log: nothing of the one before counts there.
 */
export function advanced(before: SessionPlace | undefined, answer: SessionPlace): SessionPlace {
  if (before === undefined || before.generation !== answer.generation) return answer;
  const vector = { ...before.vector };
  for (const [origin, counter] of Object.entries(answer.vector ?? {}))
    vector[origin] = Math.max(vector[origin] ?? 0, counter);
  return { generation: answer.generation, seq: Math.max(before.seq, answer.seq), vector };
}
