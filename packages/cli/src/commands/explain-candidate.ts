import { AntiphonError, findClusterDocument, type ClusterDocument } from '@antiphon/core';
import type { ClusterClient } from '@antiphon/client';
import {
  askCandidacies,
  type CandidacyAnswer,
  hasAnswered,
  nobodyAnswers,
  primaryIn,
  rankedCandidates,
  writingMsIn,
} from '@antiphon/client/internal';
import { openCluster } from '../cluster/open-cluster.js';
import { resolveTarget, type TargetOptions } from '../cluster/target.js';
import { EXIT } from '../output/exit-code.js';
import { toJson } from '../output/json.js';
import { addTargetOptions, defineCommand, type CommandHost } from './define.js';
import { candidatesText } from './candidates-text.js';

/** `antiphon explain-candidate`: who would become the primary now, and why. */
export function defineExplainCandidate(host: CommandHost): void {
  defineCommand<TargetOptions>(host, {
    name: 'explain-candidate',
    description: 'which replica would become the primary if this one failed now, and why',
    examples: ['antiphon explain-candidate', 'antiphon explain-candidate --json'],
    configure: addTargetOptions,
    run: async (options, { terminal, env, cwd }) => {
      await using client = await openCluster(resolveTarget(options, env, cwd), terminal);
      const answers = await askCandidacies(client);
      const document = await documentOf(client);
      const { cluster } = client;
      if (answers.every(({ candidacy }) => candidacy === undefined)) throw noAnswer(cluster, answers);
      const mode = document.failover?.mode ?? 'none';
      const primary = primaryIn(answers);
      const sync = document.update.mode === 'sync';
      const candidates = rankedCandidates(answers, primary, sync);
      terminal.out(
        terminal.json
          ? `${toJson({ cluster, failover: mode, primary: primary ?? null, candidates })}\n`
          : candidatesText({
              cluster,
              mode,
              primary,
              answers: hasAnswered(answers, primary),
              writingMs: writingMsIn(answers, primary),
              sync,
              candidates,
              terminal,
            }),
      );
      return EXIT.ok;
    },
  });
}

async function documentOf(client: ClusterClient): Promise<ClusterDocument> {
  const found = await findClusterDocument(client.nats.registry(client.cluster));
  if (found !== undefined) return found.document;
  throw new AntiphonError('NO_ACTOR', `There is no cluster ${client.cluster}. Start its first replica.`);
}

/** Replicas that this client may not ask are something else than replicas that are away. */
function noAnswer(cluster: string, answers: readonly CandidacyAnswer[]): AntiphonError {
  return answers.find(({ error }) => error?.code === 'ACCESS_DENIED')?.error ?? nobodyAnswers(cluster);
}
