import { sleep, type ApplyOutcome, type ApplyRequest, type Clock } from '@antiphon/core';
import { SqliteStore, type Surroundings } from '@antiphon/sqlite/internal';
import type { SqliteOptions } from '@antiphon/sqlite';
import type { Faults } from '@antiphon/testing';

/** Short, so that waiting in vain for another program happens, too. */
const BUSY_TIMEOUT_MS = 60;

/**
 * What a simulated process opens its database with: the product's store, whose long transactions
 * take time.
 */
export class SimulatedStore extends SqliteStore {
  constructor(
    file: string,
    surroundings: Surroundings,
    private readonly clock: Clock,
    private readonly faults: Faults,
  ) {
    const options: SqliteOptions = { file, busyTimeoutMs: BUSY_TIMEOUT_MS };
    super(options, surroundings);
  }

  override apply(request: ApplyRequest): Promise<ApplyOutcome> {
    const giveWay = (): Promise<void> => sleep(this.clock, this.faults.storeMs());
    return super.apply({ ...request, yield: () => giveWay().then(() => request.yield()) });
  }
}
