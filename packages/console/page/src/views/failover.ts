import type { FailoverPlan } from '../data/cluster.js';
import { getJson, postJson } from '../data/request.js';
import type { Question } from '../parts/confirmation.js';

interface TakenOver {
  readonly epoch: number;
  readonly primary: string;
  readonly seq: number;
  readonly elected: boolean;
  readonly says: string;
}

/** As `antiphon failover TO --force`: it says first what would be lost. */
export function failoverTo(to: string): Question {
  return {
    title: `Fail over to ${to}?`,
    says: [],
    prepare: async () => {
      const { says, answers, primary } = await getJson<FailoverPlan>(
        `/v1/cluster/failover?to=${encodeURIComponent(to)}`,
      );
      const better = `${primary} still answers: “Make it the primary” lets it hand over, and loses nothing.`;
      return answers ? [...says, better] : says;
    },
    verb: 'Fail over',
    isDangerous: true,
    run: async () => {
      const done = await postJson<TakenOver>('/v1/admin/failover', { to, force: true });
      const { epoch, primary, seq, elected, says } = done;
      if (!elected || primary !== to)
        return `${primary} is the primary, in epoch ${epoch}: it claimed that before ${to} did. Try again if ${to} is to be it.`;
      return `${primary} is the primary, in epoch ${epoch}, since entry ${seq} of the log. Writers go on: they are sent to ${primary}. ${says}`;
    },
  };
}
