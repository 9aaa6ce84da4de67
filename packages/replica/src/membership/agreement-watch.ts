import {
  AntiphonError,
  CLUSTER_KEY,
  encodeClusterDocument,
  findClusterDocument,
  sentence,
  type FoundDocument,
} from '@antiphon/core';
import type { Scope } from '../state/scope.js';

const ALARM = 'registry';

/**
 * Looks whether the cluster has agreed on other limits while this replica ran. They are changed
 * while all are stopped; one that was cut off or paused then must not judge messages by the old
 * ones, so it ends and is started again. A description that was deleted, or overwritten with what
 * is none, is written again: whoever runs knows it, and nobody could start without it.
 */
export class AgreementWatch {
  #looking = false;

  constructor(private readonly scope: Scope) {}

  /** Never rejects; without an answer it is asked again later. */
  async look(): Promise<void> {
    const { registry, document, health, cluster, id, logger } = this.scope;
    if (this.#looking || health.ended) return;
    this.#looking = true;
    try {
      const found = await findClusterDocument(registry, encodeClusterDocument(document));
      if (found === undefined) return await this.#restore();
      if (found.passedOver === undefined) health.clearAlarm(ALARM);
      const { limits } = found.document;
      if (limits.at(-1)?.fromSeq === document.limits.at(-1)?.fromSeq) return await this.#overwrite(found);
      health.fail(
        new AntiphonError(
          'CLUSTER_MISMATCH',
          `The settings of cluster ${cluster} were changed while ${id} ran. Start it again: it takes them over.`,
          { context: { cluster, replica: id } },
        ),
      );
    } catch (error) {
      if (error instanceof AntiphonError && error.code === 'UNSUPPORTED_FORMAT') return this.#later(error);
      logger.debug({ err: error }, "The cluster's description was not read.");
    } finally {
      this.#looking = false;
    }
  }

  /**
   * Only beside the log that this replica knows: a registry that is empty beside another log is a
   * new cluster's.
   */
  async #restore(): Promise<void> {
    const { registry, document, health, cluster, log } = this.scope;
    if (!health.replicating || !log.isTrusted) return;
    health.alarm(
      ALARM,
      `The registry has lost the description of cluster ${cluster}, without which no replica starts. It is written again. ` +
        'Find out who deletes keys of the registry.',
    );
    await registry.create(CLUSTER_KEY, encodeClusterDocument(document));
  }

  /**
   * A later build has written it, so this one leaves it as it is. It goes on by what it knows, and
   * could not be started again: somebody has to hear of that while it runs.
   */
  #later({ message }: AntiphonError): void {
    const { health, cluster, id } = this.scope;
    health.alarm(
      ALARM,
      `The description of cluster ${cluster} in the registry is of a later version of Antiphon. ${sentence(message)} ` +
        `${id} goes on, and cannot start again once it ends. Upgrade it before you stop it. If nobody meant to upgrade, ` +
        'find out who wrote the key "cluster" of the registry, and put its earlier revision back.',
    );
  }

  /** What stands in the place of the description, unless it is one. */
  async #overwrite({ revision, passedOver }: FoundDocument): Promise<void> {
    const { registry, document, health, log } = this.scope;
    if (passedOver === undefined || !health.replicating || !log.isTrusted) return;
    health.alarm(ALARM, `${sentence(passedOver.message)} It is written again.`);
    await registry.update(CLUSTER_KEY, encodeClusterDocument(document), revision);
  }
}
